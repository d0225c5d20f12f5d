"""Flagfiles: checked before absl reads them, so that an error names the file and the line."""

import contextlib
import os
import re
from collections.abc import Collection, Sequence

from jeat_tf.core.values import nearest

_GLOBAL = ("flagfile", "undefok")
_LARGEST = 2**20  # bytes


def check_flagfiles(arguments: Sequence[str], known: Collection[str]) -> None:
    """Looks at each flagfile that the arguments name, and at those that these name.

    Args:
      arguments: of a command line.
      known: names of flags.

    Raises:
      ValueError: a file that cannot be read, is no text or names itself; a line that is no flag; an unknown flag.
    """
    for path in _named(arguments):
        _check(path, known, ())


def place_of(message: str, arguments: Sequence[str]) -> str:
    """Where a flagfile says what a message is about, as " (FILE, line 3)"; empty for what the command line says.

    Args:
      message: about a flag "--name", a setting "expected name ...", or a value in quotation marks.
      arguments: of the command line.
    """
    if ", line " in message:
        return ""
    said = [_name(argument).removeprefix("no") for argument in arguments]
    subjects = ((r"--?(?:no)?([\w.]+)", _name), (r"\bexpected (\w+)", _name), (r'"([^"]+)"', _value))
    with contextlib.suppress(ValueError):  # `check_flagfiles` has reported it
        lines = [(path, number, line) for path in _named(arguments) for number, line in _lines(path)]
        for pattern, part in subjects:
            for about in re.findall(pattern, message)[:1]:
                for path, number, line in lines:
                    if part(line) in (about, f"no{about}") and _name(line).removeprefix("no") not in said:
                        return f" ({path}, line {number})"
    return ""


def _check(path: str, known: Collection[str], within: tuple[str, ...]) -> None:
    if os.path.realpath(path) in within:
        raise ValueError(f"the flagfile {path} names itself; remove its line --flagfile")
    for number, line in _lines(path):
        name = _name(line)
        if not line.startswith("-") or not name:
            shown = line if len(line) <= 60 else f"{line[:60]}..."
            raise ValueError(f"expected a flag --name=value in the flagfile {path}, line {number}, received {shown!r}")
        if name in _GLOBAL:
            for inner in _named([line]):
                _check(inner, known, (*within, os.path.realpath(path)))
        elif name not in known and name.removeprefix("no") not in known:
            hint = nearest(name, list(known)) if len(name) <= 60 else "it is no name of a flag"
            raise ValueError(f"unknown flag --{name[:60]} in the flagfile {path}, line {number}; {hint}")


def _lines(path: str) -> list[tuple[int, str]]:
    try:
        if os.path.getsize(path) > _LARGEST:
            raise ValueError(f"expected a flagfile of at most {_LARGEST:,} bytes, received {path}, which is larger")
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"expected a flagfile, which is text, received {path}, which is not: {error}") from error
    except OSError as error:
        raise ValueError(f"cannot read the flagfile {path}: {error.strerror or error}") from error
    return [(i, line) for i, line in enumerate(lines, 1) if line and not line.startswith(("#", "//"))]


def _named(arguments: Sequence[str]) -> list[str]:
    found = []
    for i, argument in enumerate(arguments):
        if argument.startswith("-") and _name(argument) == "flagfile":
            value = argument.partition("=")[2] if "=" in argument else "".join(arguments[i + 1 : i + 2])
            found.append(os.path.expanduser(value))
    return [path for path in found if path]


def _name(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0].strip()


def _value(argument: str) -> str:
    return argument.partition("=")[2].strip()
