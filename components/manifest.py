"""The manifest of an artifact: what it is, from what it was made, and the SHA-256 of every file."""

import hashlib
import json
import os
from typing import Any, NamedTuple

from jeat_tf.core.files import sha256, write_json
from jeat_tf.runs.locks import PREFIX

from .types import Artifact

FILE = "manifest.json"
FORMAT = 2
_REMEDY = "remove the folder, and run the pipeline again to make it"


class Manifest(NamedTuple):
    """What `manifest.json` says.

    Attributes:
      type: name of the artifact type.
      schema_version: of that type.
      files: SHA-256 by path inside the folder.
      properties: what the producer says of it, e.g. the digest of a net's weights.
      producer: component, its version, the digests of its code and of files that its parameters name.
      parameters: parameters of the component's call.
      parents: digest of each artifact it was made from, by input.
      digest: of all that later steps depend on: type, properties, files that are not volatile, and records' content.
    """

    type: str
    schema_version: int
    files: dict[str, str]
    properties: dict[str, Any]
    producer: dict[str, Any]
    parameters: dict[str, Any]
    parents: dict[str, Any]
    digest: str


def write(folder: str, kind: type[Artifact], properties: dict[str, Any], **origin: Any) -> Manifest:
    """Writes the manifest of a folder as it is now; `origin` is producer, parameters and parents."""
    files = {name: sha256(os.path.join(folder, name)) for name in _files(folder)}
    digest = _digest(folder, kind, properties, files)
    manifest = Manifest(kind.__name__, kind.SCHEMA_VERSION, files, properties, digest=digest, **origin)
    write_json(os.path.join(folder, FILE), {"format": FORMAT, **manifest._asdict()})
    return manifest


def read(folder: str, kind: type[Artifact]) -> Manifest:
    """The manifest of an artifact, after its files were found to be those that it lists.

    Raises:
      ValueError: no artifact there, one of another type or version, or files that are missing, changed or new.
    """
    path = os.path.join(folder, FILE)
    manifest = _parse(path)
    if manifest.type != kind.__name__:
        raise ValueError(
            f"expected an artifact of type {kind.__name__} in {folder}, received one of type {manifest.type}"
        )
    if manifest.schema_version != kind.SCHEMA_VERSION:
        raise ValueError(
            f"expected schema version {kind.SCHEMA_VERSION} of {kind.__name__} in {folder}, received "
            f"{manifest.schema_version}; {_REMEDY}"
        )
    _check_files(folder, manifest)
    if manifest.digest != _digest(folder, kind, manifest.properties, manifest.files):
        raise ValueError(f"the manifest {path} was changed: its digest does not match what it lists; {_REMEDY}")
    return manifest


def seal(folder: str) -> str:
    """SHA-256 of the manifest itself: of every file, and of what is said of their origin."""
    return sha256(os.path.join(folder, FILE))


def _parse(path: str) -> Manifest:
    try:
        with open(path, encoding="utf-8") as f:
            values = json.load(f)
        found = values.pop("format")
        manifest = None if found != FORMAT else Manifest(**values)
    except FileNotFoundError:
        raise ValueError(
            f"no artifact in {os.path.dirname(path)}: expected a folder with {FILE}, as a component writes it"
        ) from None
    except (OSError, TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the manifest {path}: {error}; {_REMEDY}") from error
    if manifest is None:
        raise ValueError(f"the manifest {path} has format {found}, expected {FORMAT}; {_REMEDY}")
    wanted = {"files": dict, "properties": dict, "producer": dict, "parameters": dict, "parents": dict, "digest": str}
    for name, kind in wanted.items():
        if not isinstance(getattr(manifest, name), kind):
            raise ValueError(f"cannot read the manifest {path}: {name} is no {kind.__name__}; {_REMEDY}")
    return manifest


def _check_files(folder: str, manifest: Manifest) -> None:
    present = set(_files(folder))
    listed = set(manifest.files)
    for name in sorted(listed - present):
        raise ValueError(f"the artifact in {folder} lacks {name}, which its manifest lists; {_REMEDY}")
    for name in sorted(present - listed):
        raise ValueError(f"the artifact in {folder} holds {name}, which its manifest does not list; remove it")
    for name, digest in manifest.files.items():
        if sha256(os.path.join(folder, name)) != digest:
            raise ValueError(
                f"{os.path.join(folder, name)} was changed: its SHA-256 is not the one in its manifest; {_REMEDY}"
            )


def _digest(folder: str, kind: type[Artifact], properties: dict[str, Any], files: dict[str, str]) -> str:
    lasting = {
        name: _record_sha256(os.path.join(folder, name), kind.PASSING) if name in kind.RECORDS else digest
        for name, digest in files.items()
        if not name.startswith(kind.VOLATILE)
    }
    text = json.dumps([kind.__name__, kind.SCHEMA_VERSION, properties, lasting], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _record_sha256(path: str, passing: frozenset[str]) -> str:
    """Digest of a JSON file's content at any depth, without the keys in `passing`."""

    def lasting(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lasting(one) for key, one in value.items() if key not in passing}
        return [lasting(one) for one in value] if isinstance(value, list) else value

    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}; {_REMEDY}") from error
    return hashlib.sha256(json.dumps(lasting(value), sort_keys=True).encode()).hexdigest()


def _files(folder: str) -> list[str]:
    found = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return sorted(
        name
        for name in (os.path.relpath(path, folder) for path in found)
        if name != FILE and not os.path.basename(name).startswith(PREFIX)
    )
