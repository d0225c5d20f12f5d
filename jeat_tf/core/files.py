"""Files that are either whole or absent."""

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

_PARTIAL = ".partial-"


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside `path`, with its suffixes, that becomes `path` when the block ends well."""
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, dot, suffix = name.partition(".")
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{_PARTIAL}{stem}-", suffix=dot + suffix)
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def remove_partial(folder: str) -> None:
    """Removes what processes that were killed in the middle of `whole_file` left in a folder that nobody writes to."""
    for path in pathlib.Path(folder).rglob(f"{_PARTIAL}*"):
        path.unlink()


def write_text(path: str, text: str) -> None:
    """Writes a text file as a whole."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
        f.write(text)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes an .npz file as a whole; read it back with `read_arrays`."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, is no such file, or holds objects other than arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise
    except Exception as error:  # of the file, the archive, the compression or the array's header
        raise ValueError(f"cannot read {path}: {error}; expected an .npz file of arrays, whole") from error


def write_image(path: str, image: np.ndarray) -> None:
    """Writes a PNG, uint8[H, W] or uint8[H, W, 3], as a whole."""
    with whole_file(path) as temporary:
        keras.utils.array_to_img(image[..., None] if image.ndim == 2 else image, scale=False).save(temporary)


def write_animation(path: str, frames: Sequence[np.ndarray], *, seconds: float) -> None:
    """Writes a GIF of uint8[H, W, C] frames, each shown for so long and the last for ten times that, as a whole."""
    pictures = [keras.utils.array_to_img(frame, scale=False) for frame in frames]
    durations = [int(1000 * seconds)] * (len(frames) - 1) + [int(10_000 * seconds)]
    with whole_file(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=durations, loop=0)


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


def cache_file(name: str) -> str:
    """Where something that can be made or fetched again is kept between runs: in Keras' home (KERAS_HOME, ~/.keras)."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "jeat_tf", name)


def sha256(path: str) -> str:
    """Digest of a file, or of all files in a folder with their names, in hexadecimal."""
    if os.path.isdir(path):
        files = sorted(os.path.join(root, name) for root, _, names in os.walk(path) for name in names)
        listing = "".join(f"{os.path.relpath(file, path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def changes(was: dict[str, Any], now: dict[str, Any]) -> str:
    """ "key: old -> new" for all that is different, or nothing."""
    changed = [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]
    return ", ".join(f"{name}: {was.get(name)!r} -> {now.get(name)!r}" for name in changed)
