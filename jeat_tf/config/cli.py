"""The frame that every `python -m jeat_tf.<verb>` shares."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from absl import app, flags, logging

from jeat_tf.config.flagfiles import place_of
from jeat_tf.config.flags import as_flags, define_flags, expanded, from_flags, help_text
from jeat_tf.core import failures
from jeat_tf.core.flat import owners
from jeat_tf.core.values import Value
from jeat_tf.core.version import __version__

_EXTRA = {
    "flagfile=FILE": "read flags from a file; later flags win",
    "preset=NAME": "read the flags of a preset, e.g. digits/jeat; `jeat_tf list presets` has the names",
    "config=FILE": "repeat the settings of a run's config.json; flags win",
    "dry_run": "print what a run would cost and the settings it would have, and stop",
    "verbose": "show TensorFlow's own messages, and the traceback of an error",
    "version": "print the version",
}


def run(
    kind: type[Value],
    verb: str | Callable[[Any], Any],
    *,
    name: str,
    plan: str | None = None,
    again: str = "the same command begins again",
    aliases: dict[str, str] | None = None,
) -> None:
    """Parses flags into settings and calls the verb; expected failures end in one line, not a traceback.

    Nothing here imports TensorFlow: the verb does, which is a function or its place, "module:function".

    Args:
      kind: class of the settings.
      verb: called with them.
      name: module that the command line runs.
      plan: "module:function", called in place of the verb by --dry_run, before the settings are printed.
      again: what the same command does after a stop, in words.
      aliases: other names of flags.

    Exit status: as in `jeat_tf.core.failures.STATUSES`.
    """
    if {"--help", "-h", "-help", "--helpfull", "--helpshort"} & set(sys.argv[1:]):
        statuses = "\n".join(f"  {number:<28}  {meaning}" for number, meaning in failures.STATUSES.items())
        failures.show(f"{help_text(kind, name, _EXTRA)}\n\nexit status:\n{statuses}")
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
        except (ValueError, OSError, RecursionError, flags.Error) as error:
            text = str(error)
            if isinstance(error, RecursionError):  # absl's search for a similar name
                text = "unknown flag, of a name without end"
            failures.end(ValueError(f"{text}{place_of(text, argv[1:])}"))

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: expected flags only, received {' '.join(argv[1:])}; {_dashes(argv[1], kind)}")
        with stated_failures(verbose=verbose.value, again=again):
            config = from_flags(kind, base=base[0], arguments=sys.argv[1:])
            if not verbose.value:
                load_quietly()
            if not dry_run.value:
                _function(verb)(config)
                return
            if plan is not None:
                _function(plan)(config)
            print_settings(config)

    app.run(main, flags_parser=parse)


def load_quietly() -> None:
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

            # It looks for devices, and does not start TensorFlow: a verb may still divide them.
            tf.config.list_physical_devices()
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
def stated_failures(*, verbose: bool = False, again: str = "") -> Iterator[None]:
    """Ends the program with one sentence and a status, as `core.failures` says, where the block fails or is stopped.

    Args:
      verbose: show the traceback as well.
      again: what the same command does after a stop, in words.
    """
    logging.set_verbosity(logging.WARNING)  # TFDS reports each file it opens
    warnings.formatwarning = _short_warning
    stopped = []

    def interrupt(number: int, frame: Any) -> None:
        del frame
        stopped.append(number)
        raise failures.Stopped("SIGTERM" if number == signal.SIGTERM else "")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt)
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if stopped and not isinstance(error, KeyboardInterrupt):  # a module that was being loaded makes another of it
            error = failures.Stopped("SIGTERM" if stopped[0] == signal.SIGTERM else "")
        failures.end(error, verbose=verbose, again=again)


def _short_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as a sentence; the place where it was raised says nothing to a user."""
    del filename, lineno, line
    return f"warning: {message}\n" if category.__module__.startswith("jeat_tf") else f"{category.__name__}: {message}\n"


def print_settings(config: Value) -> None:
    """Prints all settings as a flagfile, group by group."""
    for group, lines in as_flags(config):
        print(f"# {group}")
        print("\n".join(lines))
