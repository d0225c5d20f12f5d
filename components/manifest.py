"""The manifest of an artifact: what it is, from what it was made, and the SHA-256 of every file."""

import hashlib
import json
import os
from typing import Any, NamedTuple

from components.types import Artifact
from jeat_tf.artifacts import sha256, write_json

FILE = "manifest.json"
FORMAT = 1


class Manifest(NamedTuple):
    """What `manifest.json` says.

    Attributes:
      type: name of the artifact type.
      schema_version: of that type.
      files: SHA-256 by path inside the folder.
      properties: what the producer says of it, e.g. the digest of a net's weights.
      producer: component, its version, the digest of its code.
      parameters: it was made with.
      parents: digest of each artifact it was made from, by input.
      digest: of all that later steps depend on: type, properties, and the files that are not volatile.
    """

    type: str
    schema_version: int
    files: dict[str, str]
    properties: dict[str, Any]
    producer: dict[str, str]
    parameters: dict[str, Any]
    parents: dict[str, Any]
    digest: str


def write(folder: str, kind: type[Artifact], properties: dict[str, Any], **origin: Any) -> Manifest:
    """Writes the manifest of a folder as it stands; `origin` is producer, parameters and parents."""
    files = {name: sha256(os.path.join(folder, name)) for name in _files(folder)}
    lasting = {name: digest for name, digest in files.items() if not name.startswith(kind.VOLATILE)}
    digest = _digest(kind, properties, lasting)
    manifest = Manifest(kind.__name__, kind.SCHEMA_VERSION, files, properties, digest=digest, **origin)
    write_json(os.path.join(folder, FILE), {"format": FORMAT, **manifest._asdict()})
    return manifest


def read(folder: str, kind: type[Artifact]) -> Manifest:
    """The manifest of an artifact, after its files were found to be those that it lists.

    Raises:
      ValueError: no artifact there, one of another type or version, or files that are missing, changed or new.
    """
    path = os.path.join(folder, FILE)
    try:
        with open(path, encoding="utf-8") as f:
            values = json.load(f)
        found = values.pop("format")
        if found != FORMAT:
            raise ValueError(
                f"the manifest {path} has format {found}, expected {FORMAT}; make the artifact again with this version"
            )
        manifest = Manifest(**values)
    except FileNotFoundError:
        raise ValueError(f"no artifact in {folder}: expected a folder with {FILE}, as a component writes it") from None
    except (OSError, TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"cannot read the manifest {path}: {error}; make the artifact again") from error
    if manifest.type != kind.__name__:
        raise ValueError(
            f"expected an artifact of type {kind.__name__} in {folder}, received one of type {manifest.type}"
        )
    if manifest.schema_version != kind.SCHEMA_VERSION:
        raise ValueError(
            f"expected schema version {kind.SCHEMA_VERSION} of {kind.__name__} in {folder}, received "
            f"{manifest.schema_version}; make the artifact again with this version"
        )
    _check_files(folder, manifest)
    lasting = {name: digest for name, digest in manifest.files.items() if not name.startswith(kind.VOLATILE)}
    if manifest.digest != _digest(kind, manifest.properties, lasting):
        raise ValueError(f"the manifest {path} was changed: its digest is not that of what it lists")
    return manifest


def _check_files(folder: str, manifest: Manifest) -> None:
    present = set(_files(folder))
    listed = set(manifest.files)
    for name in sorted(listed - present):
        raise ValueError(f"the artifact in {folder} lacks {name}, which its manifest lists; make it again")
    for name in sorted(present - listed):
        raise ValueError(f"the artifact in {folder} holds {name}, which its manifest does not list; remove it")
    for name, digest in manifest.files.items():
        if sha256(os.path.join(folder, name)) != digest:
            raise ValueError(
                f"{os.path.join(folder, name)} was changed: its SHA-256 is not the one in its manifest; make the "
                "artifact again"
            )


def _digest(kind: type[Artifact], properties: dict[str, Any], files: dict[str, str]) -> str:
    text = json.dumps([kind.__name__, kind.SCHEMA_VERSION, properties, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: str) -> list[str]:
    found = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return sorted(name for name in (os.path.relpath(path, folder) for path in found) if name != FILE)
