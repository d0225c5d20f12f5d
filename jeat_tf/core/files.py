"""Files that are either whole or absent."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import platform
import re
import secrets
import stat
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from jeat_tf.core.archives import check_unpacked

if TYPE_CHECKING:
    from PIL import Image

V = TypeVar("V")
_PARTIAL = ".partial-"
_HOST = re.sub(r"[^\w.]", "_", platform.node()) or "host"
_TOKEN = secrets.token_hex(4)  # tells this process from an earlier one of the same number
_LEFT = re.compile(
    rf"{re.escape(_PARTIAL)}.*@(?P<host>[\w.]+)-(?P<pid>\d+)-(?P<token>[0-9a-f]{{8}})-[0-9a-f]{{8}}(\..*)?"
)


class KeptWarning(UserWarning):
    """A file that only helps was damaged: it was set aside, and the work continues without it."""


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside `path`, with its suffixes, that becomes `path` when the block ends well.

    The file and its folder are on the disk before and after the name changes, so that a power cut leaves the old file
    or the new one. The permissions are those that the umask gives. A link at `path` is replaced, not followed.

    Raises:
      ValueError: a folder is at `path`.
      OSError: the disk is full, failing or read-only; the error names `path`.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if os.path.isdir(path) and not os.path.islink(path):
        raise ValueError(f"expected a file at {path}, received a folder; move it away, or choose another name")
    temporary = os.path.join(folder, _temporary_name(name))
    try:
        os.makedirs(folder, exist_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # not every file system can
            _sync(folder)
    except OSError as error:
        if error.errno is None or error.filename not in (None, temporary):
            raise
        raise OSError(error.errno, os.strerror(error.errno), path) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _temporary_name(name: str) -> str:
    stem, suffix = name.partition(".")[0][:40], "".join(pathlib.PurePath(name).suffixes[-2:])[-40:]
    suffix = suffix if suffix.startswith(".") else ""
    return f"{_PARTIAL}{stem}@{_HOST}-{os.getpid()}-{_TOKEN}-{secrets.token_hex(4)}{suffix}"


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot
            raise
    finally:
        os.close(handle)


def remove_partial(folder: str) -> None:
    """Removes the temporary files that dead processes of this machine left in a folder in the middle of `whole_file`.

    Folders, files of living processes, files of other machines, and other files of such a name stay.
    """
    for entry in os.scandir(folder):
        match = _LEFT.fullmatch(entry.name)
        if match and entry.is_file(follow_symlinks=False) and match["host"] == _HOST and _dead(match):
            with contextlib.suppress(OSError):
                os.remove(entry.path)


def _dead(match: re.Match) -> bool:
    number = int(match["pid"])
    if number == os.getpid():
        return match["token"] != _TOKEN
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # a living process of another user
        return False
    return False


def set_aside(path: str) -> str:
    """Renames a damaged file, so that nothing reads it and nobody loses it; returns its new path."""
    folder, name = os.path.split(path)
    number = next(i for i in range(1, 1_000_000) if not os.path.lexists(os.path.join(folder, f"broken-{i}-{name}")))
    aside = os.path.join(folder, f"broken-{number}-{name}")
    os.replace(path, aside)
    return aside


def begin_anew(path: str, what: str, reason: object) -> None:
    """Sets a damaged file that only helps aside, with a `KeptWarning` that says so.

    Args:
      path: the file.
      what: noun for the warning, and what happens next: "the record of energies; it starts afresh".
      reason: why it cannot be used.
    """
    aside = set_aside(path)
    warnings.warn(f"{path}: cannot use {what} ({reason}). The file is kept as {aside}", KeptWarning, stacklevel=3)


def write_text(path: str, text: str) -> None:
    """Writes a text file as a whole."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
        f.write(text)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str, kind: type[V], *, remedy: str = "it is damaged, remove it or make it again") -> V:
    """The content of a JSON file whose outermost value is a `kind`, dict or list.

    Raises:
      ValueError: the file cannot be read, is no JSON, or holds another type; the message names file and remedy.
    """
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error
    except RecursionError as error:
        raise ValueError(f"cannot read {path}: it is nested too deeply; {remedy}") from error
    except ValueError as error:  # bad JSON, a bad encoding, or a number of too many digits
        raise ValueError(f"cannot read {path}: {error}; {remedy}") from error
    if not isinstance(value, kind):
        what = "object" if kind is dict else "list"
        raise ValueError(f"expected a JSON {what} in {path}, received {value!r:.40}; {remedy}")
    return value


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes an .npz file as a whole, under the name that is given; read it back with `read_arrays`."""
    # An open file: to a name without its suffix, numpy would add one.
    with whole_file(path) as temporary, open(temporary, "wb") as f:
        np.savez_compressed(f, allow_pickle=False, **arrays)


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file.

    Raises:
      FileNotFoundError: there is no file.
      ValueError: it is damaged, is no .npz file, holds objects other than arrays, or unpacks to far more than its size.
    """
    try:
        check_unpacked(path)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise
    except Exception as error:  # of the file, the archive, the compression or the array's header
        raise ValueError(f"cannot read {path}: {error}; expected an .npz file of arrays, whole") from error


def write_animation(path: str, frames: Sequence["Image.Image"], *, seconds: float) -> None:
    """Writes a GIF as a whole; each frame is shown for `seconds`, and the last for ten times that."""
    durations = [int(1000 * seconds)] * (len(frames) - 1) + [int(10_000 * seconds)]
    with whole_file(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def writable_folder(path: str, flag: str) -> str:
    """Creates the folder if need be and returns its path.

    Raises:
      ValueError: no path given, or nothing can be written there.
    """
    if not path:
        raise ValueError(f"expected a folder, received nothing; set --{flag}")
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"cannot write in --{flag}={path}: {error.strerror or error}") from error
    return path


def check_exists(flag: str, path: str) -> None:
    """Raises ValueError where a flag names a path that does not exist; an empty path passes."""
    if path and not os.path.exists(path):
        raise ValueError(f"expected a file in --{flag}, received {path}, which does not exist")


def sha256(path: str) -> str:
    """Digest of a file, or of all files in a folder with their names, in hexadecimal."""
    if os.path.isdir(path):
        files = sorted(os.path.join(root, name) for root, _, names in os.walk(path) for name in names)
        listing = "".join(f"{os.path.relpath(file, path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def changes(was: dict[str, Any], now: dict[str, Any]) -> str:
    """ "key: old -> new" for each difference; empty without one."""
    changed = [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]
    return ", ".join(f"{name}: {was.get(name)!r} -> {now.get(name)!r}" for name in changed)


def own_folder(path: str, *, make: bool = True) -> str:
    """The path of a folder inside an output folder, which is created if need be, or with `make` False only checked.

    Raises:
      ValueError: a link or a file is there: nothing is written through links.
    """
    if os.path.islink(path) or (os.path.lexists(path) and not stat.S_ISDIR(os.lstat(path).st_mode)):
        raise ValueError(
            f"expected a folder at {path}, received a {'link' if os.path.islink(path) else 'file'}; move it away, or "
            "choose another output folder"
        )
    if make:
        os.makedirs(path, exist_ok=True)
    return path


def own_file(path: str) -> str:
    """The path of a file that is to be copied.

    Raises:
      ValueError: a link is there, which may lead to a file that nobody meant to copy.
    """
    if os.path.islink(path):
        raise ValueError(f"expected a file at {path}, received a link; put the file itself there")
    return path
