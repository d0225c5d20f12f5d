"""What `draw` leaves on disk beside its figures: `figures.json`."""

import os
from typing import Any

from jeat_tf.core.provenance import Provenance
from jeat_tf.core.records import Record, record, stored

FILE = "figures.json"


@record
class DrawnNet:
    """A net that a figure shows.

    Attributes:
      model: its file.
      weights_sha256: digest of its weights.
      changes: what was done to the net to get it, one sentence each.
    """

    model: str
    weights_sha256: str
    changes: tuple[str, ...] = ()


@record
class FigureRecord:
    """A figure, and what its numbers depend on.

    Attributes:
      kind: as in `--figures`.
      shows: description of what it shows.
      models: the nets in it by name.
      settings: what else its numbers depend on, by name; the names differ by kind.
      dataset: name of the data.
      date: of the drawing.
    """

    kind: str
    shows: str
    models: dict[str, DrawnNet]
    settings: dict[str, Any]
    seed: int
    dataset: str
    date: str
    provenance: Provenance


@record
class Drawings(Record):
    """The figures of a folder: `figures.json`.

    Attributes:
      figures: by the name of their files, without suffix.
      not_drawn: by kind, why the latest call could not draw it.
    """

    MADE_BY = "python -m jeat_tf.draw"

    figures: dict[str, FigureRecord]
    not_drawn: dict[str, str]


def read_figures(folder: str) -> dict[str, FigureRecord]:
    """The figures that are recorded and still present in a folder, by name.

    Raises:
      ValueError: a `figures.json` that cannot be read.
    """
    found = stored(Drawings, os.path.join(folder, FILE))
    figures = found.figures if found else {}
    return {name: figure for name, figure in figures.items() if os.path.isfile(os.path.join(folder, f"{name}.png"))}
