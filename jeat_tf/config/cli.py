"""absl flags from the settings, and the frame that every `python -m jeat_tf.<verb>` shares."""

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags, logging

from jeat_tf.config.fields import leaves, replace
from jeat_tf.core.units import number


class _NumberParser(flags.ArgumentParser):
    """Reads 0.03 and 8/255."""

    syntactic_help = "a number, or a fraction such as 8/255"

    def parse(self, argument: Any) -> float:
        return number(argument)

    def flag_type(self) -> str:
        return "number"


def define_flags(kind: type, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag for each setting of a settings class, with its default."""
    for name, (default, field) in leaves(kind).items():
        help_text = field.metadata["help"]
        if field.metadata["choices"]:
            flags.DEFINE_enum(name, default, field.metadata["choices"], help_text, flag_values=flag_values)
        elif isinstance(default, bool):
            flags.DEFINE_bool(name, default, help_text, flag_values=flag_values)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, help_text, flag_values=flag_values)
        elif isinstance(default, float):
            flags.DEFINE(_NumberParser(), name, default, help_text, flag_values, flags.ArgumentSerializer())
        else:
            flags.DEFINE_string(name, default, help_text, flag_values=flag_values)


def from_flags(kind: type, flag_values: flags.FlagValues = flags.FLAGS) -> Any:
    """The settings that the parsed flags say."""
    return replace(kind(), **{name: flag_values[name].value for name in leaves(kind)})


def parsed(kind: type, *arguments: str) -> Any:
    """The settings that arguments say, --flagfile=... among them; the flags of the program stay as they are.

    Raises:
      ValueError: an unknown flag, or a value that cannot be read.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "", flag_values=values)
    define_flags(kind, values)
    try:
        values(["parsed", *arguments])
    except flags.Error as error:
        raise ValueError(f"{kind.__name__}: {error}") from error
    return from_flags(kind, values)


def run(
    kind: type,
    verb: Callable[[Any], Any],
    *,
    plan: Callable[[Any], Any] | None = None,
    aliases: dict[str, str] | None = None,
) -> None:
    """Parses flags into settings and calls the verb; expected failures end in one line, not a traceback.

    --dry_run prints the settings, and calls `plan` in place of the verb. `aliases` are other names of flags.

    Exit status: 0 done, 1 refused or failed for a stated reason, 130 stopped by Ctrl-C or SIGTERM.
    """
    define_flags(kind)
    for alias, name in (aliases or {}).items():
        flags.DEFINE_alias(alias, name)
    dry_run = flags.DEFINE_bool("dry_run", False, "print the resolved settings, and what a run would cost, and stop")
    for name in (*leaves(kind), "dry_run"):
        # --help lists the flags of the program's own module; these are defined here.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: expected flags only, received {' '.join(argv[1:])}")
        with stated_failures():
            config = from_flags(kind)
            if dry_run.value:
                print_settings(config)
                if plan is not None:
                    plan(config)
            else:
                verb(config)

    app.run(main)


@contextlib.contextmanager
def stated_failures() -> Iterator[None]:
    """Ends the program with one line and a status, as `run` says, where the block fails as expected or is stopped."""
    logging.set_verbosity(logging.WARNING)  # TFDS reports each file it opens
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except (ValueError, OSError, ArithmeticError) as error:
        sys.exit(f"\nerror: {error}")  # a progress bar may stand on this line
    except KeyboardInterrupt as stop:
        print(f"\nstopped: {stop}" if str(stop) else "\nstopped", file=sys.stderr)
        sys.exit(130)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt("SIGTERM")


def print_settings(config: Any) -> None:
    """Prints all settings as a flagfile, section by section."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            print(f"# {field.name}")
            print_settings(value)
        else:
            print(f"--{field.name}={value}")
