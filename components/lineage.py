"""`python -m components.lineage ARTIFACT`: what made an artifact from what, back to the data, and what was made of it.

ARTIFACT is its folder, or the beginning of its digest. --short names each artifact once, in a line; --diagram draws
what it was made from, as a Mermaid flowchart.
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
_SHORT = flags.DEFINE_bool("short", False, "a line for each artifact, the oldest first")
_DIAGRAM = flags.DEFINE_bool("diagram", False, "a flowchart in Mermaid, for a document that shows it")
_VERBOSE = flags.DEFINE_bool("verbose", False, "show the traceback of an error")


def ancestry(lineage: Lineage, artifact: Stored, depth: int = 0, told: set[int] | None = None) -> Iterator[str]:
    """Lines that say what made an artifact, from what, back to the data; an artifact met again is only named."""
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


def ancestors(lineage: Lineage, artifact: Stored, known: dict[int, Stored] | None = None) -> list[Stored]:
    """All that an artifact was made from, each once and after its own ancestors, and the artifact itself."""
    known = {} if known is None else known
    maker = lineage.maker(artifact.id)
    if artifact.id not in known and maker is not None:
        for _, parent in lineage.artifacts(maker.id, "INPUT"):
            ancestors(lineage, parent, known)
    known.setdefault(artifact.id, artifact)
    return list(known.values())


def short(lineage: Lineage, artifact: Stored) -> Iterator[str]:
    """A line for each ancestor: its type, digest, and the step that made it."""
    for one in ancestors(lineage, artifact):
        maker = lineage.maker(one.id)
        seconds = f", {maker.seconds:.0f} s" if maker is not None and maker.seconds is not None else ""
        yield f"{one.type:10} {one.digest[:12]}  {maker.node if maker is not None else 'given'}{seconds}"


def diagram(lineage: Lineage, artifact: Stored) -> Iterator[str]:
    """The ancestors as a Mermaid flowchart, an arrow from what was read to what was made of it."""
    yield "flowchart LR"
    for one in ancestors(lineage, artifact):
        maker = lineage.maker(one.id)
        yield f'  a{one.id}["{one.type}<br>{maker.node if maker is not None else "given"}"]'
        for _, parent in lineage.artifacts(maker.id, "INPUT") if maker is not None else ():
            yield f"  a{parent.id} --> a{one.id}"


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
            if _SHORT.value or _DIAGRAM.value:
                print("\n".join((diagram if _DIAGRAM.value else short)(lineage, artifact)))
                continue
            print("\n".join(ancestry(lineage, artifact)))
            made = list(descent(lineage, artifact))
            print("made of it:" if made else "nothing was made of it yet")
            print("\n".join(f"  {line}" for line in dict.fromkeys(made)))


if __name__ == "__main__":
    app.run(_main)
