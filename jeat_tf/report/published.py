"""Numbers of the papers, beside ours and never in one table with them."""

import importlib.resources
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from jeat_tf.config.train import TrainConfig
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.updates import SAM, Free
from jeat_tf.models.nets import ResidualFlow
from jeat_tf.report.measures import Column
from jeat_tf.report.summary import Method
from jeat_tf.report.tables import NOT_MEASURED, cell_text, distinct_titles


class SideBySide(NamedTuple):
    """A table of a paper, and what was measured here under the same headings.

    Attributes:
      published: as in `published.json`: title, source, dataset, note, columns, rows.
      titles: of our columns; the paper's where we have none.
      rows: our methods that the paper has: name, data set, seeds, texts.
      caution: why the two do not compare.
      comparable: whether a method of ours is of the same data set.
    """

    published: dict[str, Any]
    titles: list[str]
    rows: list[tuple[str, str, int, list[str]]]
    caution: str
    comparable: bool


def side_by_side(
    methods: Sequence[Method], columns: Sequence[Column], entries: Sequence[dict[str, Any]] = ()
) -> list[SideBySide]:
    """The papers' tables that have a method of ours, each with our numbers; then leaderboards of our data sets.

    Args:
      methods: ours.
      columns: of our numbers.
      entries: tables of `read_entries`.
    """
    text = importlib.resources.files("jeat_tf.report").joinpath("published.json").read_text(encoding="utf-8")
    found = []
    names = distinct_titles(columns)
    for table in [*json.loads(text)["tables"], *entries]:
        known = {method for row in table["rows"] for method in row["methods"]}
        ours = [method for method in methods if known_as(method.shown.config) in known]
        if table in entries:
            ours = [method for method in methods if method.dataset == table["tfds"]]
        if not ours:
            continue
        chosen = [_ours(heading, columns) for heading in table["columns"]]
        rows = [
            (
                method.name,
                method.dataset,
                len(method.runs),
                [cell_text(method, column) if column else NOT_MEASURED for column in chosen],
            )
            for method in ours
        ]
        datasets = {method.dataset for method in ours}
        others = sorted(datasets - {table["tfds"]})
        caution = "Protocols may differ: see the source and the columns' protocols."
        if others:
            caution = f"{', '.join(others)} and {table['dataset']} are different data: these numbers do not compare."
        titles = [
            names[column] if column else heading["title"]
            for heading, column in zip(table["columns"], chosen, strict=True)
        ]
        found.append(SideBySide(table, titles, rows, caution, table["tfds"] in datasets))
    return found


def known_as(config: TrainConfig) -> str:
    """What papers call the method of a run: `fast` and `jem_pp` are settings of methods here; `+awp` is an update."""
    if isinstance(config.net, ResidualFlow):
        return config.net.word
    method, update = config.method, config.update
    name = method.word
    if type(method) is PGDAT and method.attack.steps == 1:
        name = "fgsm" if method.attack.start == "image" else "fast"
    if type(method) is JEM and getattr(method.chain, "clip_gradient", None):
        name = "sada_jem" if isinstance(update, SAM) else "jem_pp"
    elif isinstance(update, Free):
        name = "free"
    elif update is not None:
        name = f"{name}+{update.word}"
    return f"rst+{name}" if config.stream.pseudo_labels else name


def _ours(heading: dict[str, Any], columns: Sequence[Column]) -> Column | None:
    """The first column of ours that a heading names: its title, apart from a radius or a set of samples."""
    wanted = heading["ours"]
    for column in columns:
        if wanted and (column.title == wanted or column.title.startswith((f"{wanted} ", f"{wanted},"))):
            return column
    return None
