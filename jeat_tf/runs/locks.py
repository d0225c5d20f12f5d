"""One writer a folder: a lock with the name of its owner, which ends with its process however that ends."""

import contextlib
import datetime
import getpass
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

from filelock import FileLock, Timeout

from jeat_tf.core.failures import BUSY
from jeat_tf.core.files import remove_partial, write_json
from jeat_tf.runs.parts import shard_name

PREFIX = ".jeat_tf"
"""How the names of locks and of their owners begin."""
_PATIENCE = 30.0  # seconds that a shard waits while another one begins


class FolderInUse(ValueError):
    """Another process writes into the folder."""

    exit_status = BUSY


class Hold:
    """A folder that this process writes into.

    Attributes:
      others: whether other shards of the job are at work in the folder.
    """

    def __init__(self, others: bool, whole: contextlib.ExitStack):
        self.others = others
        self._whole = whole

    def begun(self) -> None:
        """Lets other shards begin: what the folder holds is written, and they compare theirs with it."""
        self._whole.close()


@contextlib.contextmanager
def held(folder: str, verb: str, *, name: str = "", shard: str = "") -> Iterator[Hold]:
    """Holds the lock of an output folder, and removes what dead processes left there in the middle of a file.

    A process that holds the whole folder keeps every other one out. Shards of a job share it: each holds a lock of its
    own, and the whole folder until it calls `Hold.begun`.

    Args:
      folder: an existing folder that can be written.
      verb: name of the verb that writes, for the message of a process that is refused.
      name: name of what is written, where others may write other files into the folder at the same time.
      shard: "i/m", or empty for all of the folder.

    Raises:
      FolderInUse: another process holds it; the message has its verb, number, host and start.
    """
    stem = os.path.join(folder, PREFIX + (f"-{name}" if name else ""))
    with contextlib.ExitStack() as kept:
        whole = contextlib.ExitStack() if shard else kept
        kept.callback(whole.close)
        _take(whole, stem, folder, verb, _PATIENCE if shard else 0.0)
        mine = f"{stem}-shard-{shard_name(shard)}" if shard else ""
        others = [other for other in _shards(folder, stem) if other != mine and _is_held(other)]
        if others and not shard:
            raise FolderInUse(_sentence(folder, others[0]))
        if shard:
            _take(kept, mine, folder, verb, 0.0)
        remove_partial(folder)
        yield Hold(bool(others), whole if shard else contextlib.ExitStack())


def is_ours(folder: str) -> bool:
    """Whether a verb of this library has written into the folder."""
    return any(name.startswith(PREFIX) and name.endswith(".lock") for name in os.listdir(folder))


def _take(stack: contextlib.ExitStack, stem: str, folder: str, verb: str, patience: float) -> None:
    try:
        stack.enter_context(FileLock(f"{stem}.lock", timeout=patience))
    except Timeout:
        raise FolderInUse(_sentence(folder, stem)) from None
    path = f"{stem}.owner"
    if left := _owner(path):
        print(f"note: {left} did not end by itself; its lock on {folder} is void", file=sys.stderr)
    write_json(
        path,
        {
            "verb": verb,
            "pid": os.getpid(),
            "host": platform.node(),
            "user": _user(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    )
    stack.callback(_forget, path)


def _forget(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


def _shards(folder: str, stem: str) -> list[str]:
    pattern = re.compile(rf"({re.escape(os.path.basename(stem))}-shard-\d{{5}}-of-\d{{5}})\.lock")
    return [os.path.join(folder, match[1]) for name in sorted(os.listdir(folder)) if (match := pattern.fullmatch(name))]


def _is_held(stem: str) -> bool:
    try:
        with FileLock(f"{stem}.lock", timeout=0):
            return False
    except Timeout:
        return True


def _sentence(folder: str, stem: str) -> str:
    return (
        f"{folder} is in use by {_owner(f'{stem}.owner') or 'another process'}; nothing was written. Wait until it has "
        "ended, or choose another folder"
    )


def _owner(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            found: Any = json.load(file)
        who = f"process {found['pid']} of {found['user']} on {found['host']}"
        return f"{found['verb']} ({who}, started {found['started']})"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a number without a name, as in a container
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
