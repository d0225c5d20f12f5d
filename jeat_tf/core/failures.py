"""How a program of this library ends when something fails: one sentence and a documented status.

Nothing here imports more than Python itself, so that a program can be stopped while it loads the rest.
"""

import errno
import os
import signal
import sqlite3
import sys
import traceback
from typing import Any, NoReturn

DONE, STATED, FAULT, BUSY, STOPPED = 0, 1, 70, 75, 130
STATUSES = {
    DONE: "done",
    STATED: "refused, or failed for the reason that is stated",
    FAULT: "a fault of the program",
    BUSY: "another process writes into the folder; try again later",
    STOPPED: "stopped by Ctrl-C or SIGTERM",
}
"""Exit status -> what it means."""
_LONGEST = 1500  # characters of a sentence
_REMEDIES = {
    errno.ENOSPC: "make room on the disk, and give the same command again",
    errno.EDQUOT: "make room in your quota, and give the same command again",
    errno.EFBIG: "raise the limit on the size of files, and give the same command again",
    errno.EACCES: "choose a place that you may use, or ask for the permission",
    errno.EPERM: "choose a place that you may use, or ask for the permission",
    errno.EROFS: "choose a place that can be written",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk may be failing: check it",
}
_OF_TENSORFLOW = {
    "ResourceExhaustedError": "not enough memory, or no room on the disk; take smaller batches or a smaller net",
    "NotFoundError": "a file is missing",
    "DataLossError": "a file is damaged",
    "PermissionDeniedError": "a file may not be used",
}


class Stopped(KeyboardInterrupt):
    """A stop by a signal.

    A class of its own, since Python ends by the signal, whatever the status, once a plain KeyboardInterrupt has passed
    through an `exec` of text. Data classes and named tuples are made by one while modules load.
    """


def sentence(error: BaseException) -> str:
    """What failed, as far as possible with the file and what to do about it."""
    if isinstance(error, OSError) and error.errno is not None:
        reason = os.strerror(error.errno) if error.errno in errno.errorcode else str(error.strerror)
        text = f"{error.filename}: {reason}" if error.filename else reason
        text += f"; {_REMEDIES[error.errno]}" if error.errno in _REMEDIES else ""
    elif kind := _of_tensorflow(error):
        text = f"{_OF_TENSORFLOW.get(kind, kind)} ({_first_line(error)})"
    elif isinstance(error, MemoryError):
        more = f" ({_first_line(error)})" if str(error) else ""
        text = f"not enough memory{more}; take smaller batches, fewer images, a smaller net or buffer"
    elif isinstance(error, sqlite3.Error):
        text = f"a database cannot be used ({error}); it is damaged or another program has it open"
    elif isinstance(error, ImportError):
        text = f"cannot import {error.name or 'a module'}: {_first_line(error)}; install it, or repair the installation"
    elif isinstance(error, RecursionError):
        text = f"something is nested too deeply {_place(error)}; a file or flag that was given is not what it should be"
    elif status(error) == FAULT:
        text = (
            f"a fault of jeat_tf: {type(error).__name__}: {_first_line(error)} {_place(error)}; --verbose shows the "
            "traceback, please report it"
        )
    else:
        text = str(error) or type(error).__name__
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def status(error: BaseException) -> int:
    """The exit status of a program that ends with an exception, one of `STATUSES`."""
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if own := getattr(error, "exit_status", None):
        return int(own)
    stated = (ValueError, OSError, ArithmeticError, MemoryError, sqlite3.Error, ImportError, RecursionError)
    # What refuses an argument of the wrong kind says what it expected; Python's own errors do not.
    refused = isinstance(error, TypeError) and str(error).startswith("expected ")
    return STATED if isinstance(error, stated) or refused or _of_tensorflow(error) else FAULT


def end(error: BaseException, *, verbose: bool = False, again: str = "") -> NoReturn:
    """Ends the program: a sentence on standard error, and the status.

    Args:
      error: why.
      verbose: show the traceback before the sentence.
      again: what the same command does after a stop, in words.
    """
    if verbose:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        text = f"stopped: {error}" if str(error) else "stopped"
        text += f"; {again}" if again and "same command" not in text else ""
    else:
        text = f"error: {sentence(error)}"
    print(f"\n{text}", file=sys.stderr)  # a progress bar may stand on this line
    sys.exit(status(error))


def quiet_stops() -> None:
    """Until the program is loaded, Ctrl-C and SIGTERM end it at once: there is nothing to put away."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop_now)


def show(text: str) -> None:
    """Prints what was asked for; where the reader has seen enough (`| head`), the program ends."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more at its end
        sys.exit(0)


def _stop_now(number: int, frame: Any) -> None:
    os.write(2, b"\nstopped while loading; nothing was begun\n")
    os._exit(STOPPED)


def _of_tensorflow(error: BaseException) -> str:
    """The name of an error of TensorFlow; empty for another."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return names[0] if "OpError" in names else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _place(error: BaseException) -> str:
    """Where in this library, or else anywhere, it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "jeat_tf" in frame.filename or "components" in frame.filename] or frames
    return f"at {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else "at an unknown place"
