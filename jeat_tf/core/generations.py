"""Two generations of a run's state on disk, each with a manifest of digests, of which the newest intact one is used.

`last.weights.h5` and `previous.weights.h5` hold the arrays, `last.json` and `previous.json` their manifests. A process
may be killed between any two of the renames of `commit`: a state is known by its digest and not by its name.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np

from jeat_tf.core.files import set_aside, sha256, whole_file, write_json

SCHEMA = 1
LAST, PREVIOUS = "last", "previous"
_SLICE = 2**24  # bytes


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything about a state except its arrays.

    Attributes:
      step: of the run.
      sha256: digest of the file of arrays.
      before: digest of the state before it; empty for the first.
      arrays: SHA-256 of each array, by its name in the file.
      metrics: values of the metrics' variables, so that an interrupted epoch ends with the means of an unbroken one.
      history: the epochs' logs so far.
      seconds: that the run has taken so far, in all processes.
      files: SHA-256 of the files beside it that belong to this state alone, by name.
    """

    step: int
    sha256: str
    before: str
    arrays: dict[str, str]
    metrics: list[Any]
    history: list[dict[str, float]]
    seconds: float
    files: dict[str, str]


class Found(NamedTuple):
    """What a folder holds of a run's state.

    Attributes:
      path: the file of the newest intact state; None without one.
      manifest: its manifest, or None.
      broken: files that are not what was written, and why.
      newest: the latest step that a manifest knows of; 0 if none.
    """

    path: str | None
    manifest: Manifest | None
    broken: dict[str, str]
    newest: int


def weights_file(folder: str, name: str = LAST) -> str:
    """The file of arrays of a generation."""
    return os.path.join(folder, f"{name}.weights.h5")


def _manifest_file(folder: str, name: str = LAST) -> str:
    return os.path.join(folder, f"{name}.json")


def commit(folder: str, write: Callable[[str], None], **state: Any) -> Manifest:
    """Writes a new state; the last one becomes the previous one, which is removed.

    Args:
      folder: of the run.
      write: writes the arrays into the file whose path it is given.
      **state: `step`, `metrics`, `history`, `seconds` and `files` of its manifest.
    """
    last, previous = weights_file(folder, LAST), weights_file(folder, PREVIOUS)
    before = _read(_manifest_file(folder)) if os.path.exists(last) else None
    with whole_file(last) as temporary:
        write(temporary)
        with h5py.File(temporary, "r") as file:
            arrays = _digests(file)
        manifest = Manifest(
            sha256=sha256(temporary), arrays=arrays, before="" if before is None else before.sha256, **state
        )
        with contextlib.suppress(FileNotFoundError):
            os.replace(_manifest_file(folder, LAST), _manifest_file(folder, PREVIOUS))
        _write(_manifest_file(folder), manifest)
        with contextlib.suppress(FileNotFoundError):
            os.replace(last, previous)
    return manifest


def finish(folder: str) -> None:
    """Keeps only the newest state of a finished run: no older one, and no files beside it in its manifest.

    A longer run can resume from it. The caller removes those files after this call.
    """
    manifest = _read(_manifest_file(folder))
    if manifest is not None and manifest.files:
        _write(_manifest_file(folder), dataclasses.replace(manifest, files={}))
    for path in (weights_file(folder, PREVIOUS), _manifest_file(folder, PREVIOUS)):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def newest(folder: str) -> Found:
    """The newest intact state of a folder, and what is broken in it; changes nothing."""
    broken: dict[str, str] = {}
    manifests: list[Manifest] = []
    for name in (LAST, PREVIOUS):
        path = _manifest_file(folder, name)
        if os.path.lexists(path):
            try:
                manifests.append(_parse(path))
            except (OSError, ValueError, TypeError, RecursionError) as error:
                broken[path] = str(error)
    known = {manifest.sha256: manifest for manifest in reversed(manifests)}  # of equal states the newer
    older = {manifest.before for manifest in manifests}
    intact: list[tuple[str, Manifest]] = []
    for name in (LAST, PREVIOUS):
        path = weights_file(folder, name)
        if not os.path.lexists(path):
            continue
        try:
            digest = sha256(path) if os.path.isfile(path) else ""
        except OSError as error:
            broken[path] = str(error)
            continue
        if digest in known:
            intact.append((path, known[digest]))
        elif digest not in older:
            broken[path] = _what_differs(path, manifests)
    path_, manifest = max(intact, key=lambda pair: pair[1].step, default=(None, None))
    return Found(path_, manifest, broken, max((each.step for each in manifests), default=0))


def settle(folder: str, found: Found) -> list[str]:
    """Sets broken files aside, and gives the state that is used the name `last`; returns the files' new paths."""
    aside = [set_aside(path) for path in found.broken]
    if found.manifest is None or found.path is None:
        return aside
    if found.path != weights_file(folder):
        os.replace(found.path, weights_file(folder))
    if _read(_manifest_file(folder)) != found.manifest:
        _write(_manifest_file(folder), found.manifest)
    return aside


def _digests(file: h5py.File) -> dict[str, str]:
    found: dict[str, str] = {}

    def add(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            digest = hashlib.sha256(f"{item.dtype} {item.shape}".encode())
            for part in _parts(item):
                digest.update(np.ascontiguousarray(part).tobytes())
            found[name] = digest.hexdigest()

    file.visititems(add)
    return found


def _parts(array: h5py.Dataset) -> Iterator[np.ndarray]:
    """The array in slices of some megabytes, so that a replay buffer is not in memory twice."""
    if not array.shape:
        yield array[()]
        return
    rows = max(1, _SLICE * array.shape[0] // max(1, array.size * array.dtype.itemsize))
    for i in range(0, array.shape[0], rows):
        yield array[i : i + rows]


def _what_differs(path: str, manifests: list[Manifest]) -> str:
    size = os.path.getsize(path)
    if not manifests:
        return f"{size:,} bytes without a manifest of their digests"
    try:
        with h5py.File(path, "r") as file:
            now = _digests(file)
    except Exception as error:  # HDF5 raises errors of many types
        return f"{size:,} bytes, not readable: {error}"
    expected = max(manifests, key=lambda manifest: manifest.step).arrays
    names = [name for name in expected if now.get(name) != expected[name]]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{size:,} bytes, not those that were written; arrays that differ: {shown or 'none'}"


def _write(path: str, manifest: Manifest) -> None:
    body = {"schema": SCHEMA, **dataclasses.asdict(manifest)}
    write_json(path, {"seal": _seal(body), **body})


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read(path: str) -> Manifest | None:
    try:
        return _parse(path)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _parse(path: str) -> Manifest:
    with open(path, encoding="utf-8") as file:
        body = json.load(file)
    if not isinstance(body, dict):
        raise ValueError("not the manifest of a checkpoint")
    if body.pop("seal", None) != _seal(body):
        raise ValueError("not what was written: its seal does not match its content")
    if (schema := body.pop("schema", None)) != SCHEMA:
        raise ValueError(f"expected schema {SCHEMA}, received {schema}: another version of jeat_tf wrote it")
    return Manifest(**body)
