"""absl flags made of values: one for each setting, flat, and the help that lists them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from absl import flags

from jeat_tf.config.flagfiles import check_flagfiles, place_of
from jeat_tf.config.store import read_settings
from jeat_tf.core.flat import Owner, default, flatten, owners, replace
from jeat_tf.core.units import number
from jeat_tf.core.values import Value, default_of, kinds_of, shown
from jeat_tf.methods.presets import preset_file

Config = TypeVar("Config", bound=Value)
_WIDTH = 110


class _NumberParser(flags.ArgumentParser):
    """Reads 0.03 and 8/255."""

    syntactic_help = "a number, or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        return number(argument)

    def flag_type(self) -> str:
        return "number"


def define_flags(kind: type[Value], flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for each setting; one that is not given stays None."""
    for name, where in owners(kind).items():
        field, help_text = where[0].field, where[0].field.metadata["help"]
        annotation = str(getattr(field.type, "type", field.type))
        if field.metadata["choices"] and all(o.field.metadata["choices"] == field.metadata["choices"] for o in where):
            flags.DEFINE_enum(name, None, field.metadata["choices"], help_text, flag_values=flag_values)
        elif "bool" in annotation:
            flags.DEFINE_bool(name, None, help_text, flag_values=flag_values)
        elif "float" in annotation:
            flags.DEFINE(_NumberParser(), name, None, help_text, flag_values, flags.ArgumentSerializer())
        elif "int" in annotation:
            flags.DEFINE_integer(name, None, help_text, flag_values=flag_values)
        else:
            flags.DEFINE_string(name, None, help_text, flag_values=flag_values)


def from_flags(
    kind: type[Config],
    flag_values: flags.FlagValues = flags.FLAGS,
    base: Config | None = None,
    arguments: Sequence[str] = (),
) -> Config:
    """The settings of the parsed flags; the rest are from `base`, or else the defaults.

    Args:
      kind: class of the settings.
      flag_values: the parsed flags.
      base: settings that hold where no flag is given.
      arguments: of the command line, so that a refusal names the flagfile and the line.

    Raises:
      ValueError: a value out of its bounds, or a setting that has no effect beside the others.
    """
    given = {name: flag_values[name].value for name in owners(kind) if flag_values[name].value is not None}
    try:
        return replace(kind() if base is None else base, **given)
    except ValueError as error:
        if place := place_of(str(error), arguments):
            raise ValueError(f"{error}{place}") from error
        raise


def parsed(kind: type[Config], *arguments: str) -> Config:
    """The settings of arguments, which may include --flagfile=... and --preset=..., without the program's flags.

    Raises:
      ValueError: an unknown flag or preset, or a value that cannot be read.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "", flag_values=values)
    define_flags(kind, values)
    arguments, base = expanded(kind, arguments)
    try:
        rest = values(["parsed", *arguments])[1:]
    except flags.Error as error:
        raise ValueError(f"{kind.__name__}: {error}{place_of(str(error), arguments)}") from error
    except RecursionError as error:  # absl's search for a similar name
        raise ValueError(f"{kind.__name__}: unknown flag, of a name without end") from error
    if rest:
        raise ValueError(
            f"{kind.__name__}: expected flags only, received {' '.join(rest)}; a flag is written --name=value"
        )
    return from_flags(kind, values, base, arguments)


def expanded(kind: type[Config], arguments: tuple[str, ...]) -> tuple[tuple[str, ...], Config | None]:
    """The arguments with --preset=NAME as a flagfile, and the settings of --config=FILE if it is given.

    Raises:
      ValueError: no such preset, a file that does not hold settings of this kind, or a flagfile with a fault.
    """
    left, base = [], None
    for argument in arguments:
        name, equals, given = argument.lstrip("-").partition("=")
        dashes = argument.startswith("-") and bool(equals)
        if dashes and name == "preset" and "preset" not in owners(kind):
            left.append(f"--flagfile={preset_file(given)}")
        elif dashes and name == "config":
            base = read_settings(kind, given)
        else:
            left.append(argument)
    check_flagfiles(left, {*owners(kind), *flags.FLAGS, "preset", "config"})
    return tuple(left), base


def as_flags(config: Value) -> list[tuple[str, list[str]]]:
    """All settings as lines of a flagfile, in groups; those of a class from elsewhere have no flags: comments."""
    where, groups, group = owners(type(config)), {}, ""  # type: ignore[var-annotated]
    for name, value in flatten(config).items():
        if value is None:
            continue
        if name not in where:
            groups.setdefault(group, []).append(f"# {name}={value}")
            continue
        owner = where[name][0]
        group = owner.group
        text = f"--{name}={shown(value, owner.field)}" if isinstance(value, float) else f"--{name}={value}"
        if isinstance(value, bool):
            text = f"--{name}" if value else f"--no{name}"
        groups.setdefault(group, []).append(text)
    return list(groups.items())


def help_text(kind: type[Value], module: str, extra: Mapping[str, str]) -> str:
    """What --help prints: every setting with its default, in groups, and the kinds of methods, nets and so on."""
    lines = [f"usage: python -m {module} [--flag=value ...]", ""]
    groups: dict[str, list[str]] = {}
    for name, where in owners(kind).items():
        groups.setdefault(where[0].group, []).extend(_flag_lines(name, where))
    for group, body in groups.items():
        lines += [f"{group if group != kind.__name__ else 'settings'}:", *body, ""]
    lines += ["also:", *(line for name, text in extra.items() for line in _wrapped(f"--{name}", text))]
    return "\n".join(lines)


def _flag_lines(name: str, where: list[Owner]) -> list[str]:
    helps = [owner.field.metadata["help"] for owner in where]
    field = where[helps.index(max(helps, key=helps.count))].field  # the help text that most of its readers share
    shared = default(where)
    text = field.metadata["help"]
    if field.metadata["choices"]:
        text += f" ({', '.join(field.metadata['choices'])})"
    readers = sorted({word for owner in where for _, word in owner.choices[-1:]})
    if where[0].choices and readers:
        text += f" [{', '.join(readers)}]"
    kinds = {word: each for owner in where for word, each in kinds_of(owner.field).items()}
    if kinds:
        shared = getattr(shared, "word", "none" if default_of(field) is None else "")
    head = f"--{name}" + (
        f"={shown(shared, field) if isinstance(shared, float) else shared}" * (shared not in (None, ""))
    )
    lines = _wrapped(head, text)
    for word, each in kinds.items():
        lines += _wrapped(f"    {word}", (each.__doc__ or "").strip().split("\n")[0])
    return lines


def _wrapped(head: str, text: str) -> list[str]:
    body = textwrap.wrap(text, _WIDTH - 32) or [""]
    first = f"  {head:28}  {body[0]}" if len(head) <= 28 else f"  {head}\n{'':32}{body[0]}"
    return [first, *(f"{'':32}{line}" for line in body[1:])]
