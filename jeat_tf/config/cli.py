"""The frame that every `python -m jeat_tf.<verb>` shares."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags, logging

from jeat_tf.config.flags import as_flags, define_flags, expanded, from_flags, help_text
from jeat_tf.core.flat import owners
from jeat_tf.core.values import Value
from jeat_tf.core.version import __version__

_EXTRA = {
    "flagfile=FILE": "read flags from a file; later flags win",
    "preset=NAME": "read the flags of a preset, e.g. digits/jeat; `jeat_tf list presets` has the names",
    "config=FILE": "repeat the settings of a run's config.json; flags win",
    "dry_run": "print what a run would cost and the settings it would have, and stop",
    "verbose": "show TensorFlow's own messages, and a traceback for an error",
    "version": "print the version",
}


def run(
    kind: type[Value],
    verb: str | Callable[[Any], Any],
    *,
    name: str,
    plan: str | None = None,
    aliases: dict[str, str] | None = None,
) -> None:
    """Parses flags into settings and calls the verb; expected failures end in one line, not a traceback.

    Nothing here imports TensorFlow: the verb does, which is a function or its place, "module:function".

    Args:
      kind: class of the settings.
      verb: called with them.
      name: module that the command line runs.
      plan: "module:function", called in place of the verb by --dry_run, before the settings are printed.
      aliases: other names of flags.

    Exit status: 0 done, 1 refused or failed for a stated reason, 130 stopped by Ctrl-C or SIGTERM.
    """
    if {"--help", "-h", "-help", "--helpfull", "--helpshort"} & set(sys.argv[1:]):
        print(help_text(kind, name, _EXTRA))
        sys.exit(0)
    if "--version" in sys.argv[1:]:
        print(f"jeat_tf {__version__}")
        sys.exit(0)
    define_flags(kind)
    for alias, of in (aliases or {}).items():
        flags.DEFINE_alias(alias, of)
    dry_run = flags.DEFINE_bool("dry_run", False, "")
    verbose = flags.DEFINE_bool("verbose", False, "")
    base: list[Any] = [None]

    def parse(argv: list[str]) -> list[str]:
        try:
            arguments, base[0] = expanded(kind, tuple(argv[1:]))
            return flags.FLAGS([argv[0], *arguments])
        except (ValueError, flags.Error) as error:
            sys.exit(f"error: {error}")

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: expected flags only, received {' '.join(argv[1:])}; {_dashes(argv[1], kind)}")
        with stated_failures(traceback=verbose.value):
            config = from_flags(kind, base=base[0])
            if not verbose.value:
                _load_quietly()
            if not dry_run.value:
                _function(verb)(config)
                return
            if plan is not None:
                _function(plan)(config)
            print_settings(config)

    app.run(main, flags_parser=parse)


def _load_quietly() -> None:
    """Loads TensorFlow without its start-up messages, which say nothing that a user could act on.

    Some are written before its log level counts: what it writes to standard error is held back, and shown if the
    import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            tf.constant(0)  # the first operation looks for devices
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _function(place: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if callable(place):
        return place
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _dashes(word: str, kind: type[Value]) -> str:
    name = word.partition("=")[0]
    return f"write --{word}" if name in owners(kind) else "a flag is written --name=value"


@contextlib.contextmanager
def stated_failures(*, traceback: bool = False) -> Iterator[None]:
    """Ends the program with one line and a status, as `run` says, where the block fails as expected or is stopped."""
    logging.set_verbosity(logging.WARNING)  # TFDS reports each file it opens
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except (ValueError, TypeError, OSError, ArithmeticError) as error:
        if traceback:
            raise
        sys.exit(f"\nerror: {error}")  # a progress bar may stand on this line
    except KeyboardInterrupt as stop:
        print(f"\nstopped: {stop}" if str(stop) else "\nstopped", file=sys.stderr)
        sys.exit(130)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt("SIGTERM")


def print_settings(config: Value) -> None:
    """Prints all settings as a flagfile, group by group."""
    for group, lines in as_flags(config):
        print(f"# {group}")
        print("\n".join(lines))
