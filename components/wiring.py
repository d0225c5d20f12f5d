"""Inputs that take many artifacts as single ones: engines of clusters know of no others."""

import re
from typing import NamedTuple

from .core import Node, Output


class Wired(NamedTuple):
    """What is wired to an input.

    Attributes:
      port: name of the input.
      which: name of the artifact, if the input takes many, else empty.
      output: where the artifact comes from.
    """

    port: str
    which: str
    output: Output


def single_inputs(node: Node) -> dict[str, Wired]:
    """What a node reads, one entry for each artifact, by a name that is an identifier.

    Raises:
      ValueError: two artifacts of one input whose names differ in punctuation alone.
    """
    wired = []
    for port, value in node.inputs.items():
        if isinstance(value, Output):
            wired.append((port, Wired(port, "", value)))
        else:
            wired += [(f"{port}_{_identifier(which)}", Wired(port, which, output)) for which, output in value.items()]
    if len(dict(wired)) != len(wired):
        raise ValueError(f"expected inputs of {node.name} with names that differ in letters and digits")
    return dict(wired)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)
