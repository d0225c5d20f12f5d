"""`python -m components.lineage ARTIFACT`: what made an artifact from what, back to the data, and what was made of it.

ARTIFACT is its folder, or the beginning of its digest.
"""

import json
import os
import sys
from collections.abc import Iterator

from absl import app, flags

from jeat_tf.config import cli

from . import manifest
from .store import Lineage, Stored
from .types import Examples

_ROOT = flags.DEFINE_string("pipeline_root", "runs/pipeline", "folder of artifacts and their lineage")
_VERBOSE = flags.DEFINE_bool("verbose", False, "show the traceback of an error")


def ancestry(lineage: Lineage, artifact: Stored, depth: int = 0, told: set[int] | None = None) -> Iterator[str]:
    """Lines that say what made an artifact, from what, back to the data; what was told once is only named again."""
    told = set() if told is None else told
    maker = lineage.maker(artifact.id)
    again = ", as above" if artifact.id in told else ""
    yield f"{'  ' * depth}{artifact.type} {artifact.digest[:12]}  {artifact.uri}{again}"
    if maker is None or again:
        return
    told.add(artifact.id)
    seconds = f", {maker.seconds:.1f} s" if maker.seconds is not None else ""
    yield f"{'  ' * depth}  made by {maker.component} ({maker.node}{seconds}) with {json.dumps(maker.parameters)}"
    if artifact.type == "Examples":
        yield f"{'  ' * depth}  SHA-256 of the data: {_data_sha256(artifact.uri)}"
    for name, parent in lineage.artifacts(maker.id, "INPUT"):
        yield f"{'  ' * depth}  from {name}:"
        yield from ancestry(lineage, parent, depth + 2, told)


def _data_sha256(folder: str) -> str:
    try:
        return manifest.read(folder, Examples).properties["images_sha256"]
    except ValueError as error:
        return f"unknown; {error}"


def descent(lineage: Lineage, artifact: Stored, depth: int = 0) -> Iterator[str]:
    """Lines that say what was made of an artifact."""
    for reader in lineage.readers(artifact.id):
        for _, made in lineage.artifacts(reader.id, "OUTPUT"):
            yield f"{'  ' * depth}{made.type} {made.digest[:12]}  {made.uri}  ({reader.node})"
            yield from descent(lineage, made, depth + 1)


def _main(argv: list[str]) -> None:
    path = os.path.join(_ROOT.value, "lineage.sqlite")
    if len(argv) != 2 or not os.path.exists(path):
        sys.exit(f"error: expected the folder or digest of one artifact, and a lineage at {path}; set --pipeline_root")
    with cli.stated_failures(verbose=_VERBOSE.value):
        lineage = Lineage(path)
        found = lineage.find(os.path.abspath(argv[1]) if os.path.isdir(argv[1]) else argv[1])
        if not found:
            raise ValueError(f"no artifact {argv[1]} in {path}")
        for artifact in found:
            print("\n".join(ancestry(lineage, artifact)))
            made = list(descent(lineage, artifact))
            print("made of it:" if made else "nothing was made of it yet")
            print("\n".join(f"  {line}" for line in dict.fromkeys(made)))


if __name__ == "__main__":
    app.run(_main)
