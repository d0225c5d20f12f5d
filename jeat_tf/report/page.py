"""One HTML page that contains all it shows: tables, images as data URIs, numbers as JSON; it loads nothing."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

from jeat_tf.core.provenance import Provenance
from jeat_tf.report.audits import audit, run_facts
from jeat_tf.report.charts import class_tables, robustness_curves, training_curves
from jeat_tf.report.collect import Drawing
from jeat_tf.report.lineage import lineage
from jeat_tf.report.measures import GENERATED, GROUPS, Column
from jeat_tf.report.pictures import drawings_by_kind, of_chart, plots, sample_grid
from jeat_tf.report.published import side_by_side
from jeat_tf.report.summary import Control, Method, columns_of, controls_of
from jeat_tf.report.tables import MARKER, as_data, best_of, cell_text, control_text, distinct_titles, seeds_text

_SMALL = "digits"  # the built-in data set of 8x8 images
_COLUMNS = 8  # of numbers in a table: as many as a page is wide


class _Head(NamedTuple):
    """A column's heading: its key in the data, title, protocol, and which direction is better."""

    key: str
    title: str
    protocol: str
    better: str


def render(
    methods: Sequence[Method],
    drawings: Sequence[Drawing],
    *,
    remarks: Sequence[str],
    made: Provenance,
    date: str,
    name: str,
    entries: Sequence[dict[str, Any]] = (),
) -> str:
    """The page.

    Args:
      methods: what `summarise` returns.
      drawings: figures of `draw`.
      remarks: what was not averaged or left out, and why.
      made: provenance of the page itself.
      date: day on which it was made.
      name: of the page's file.
      entries: tables of `read_entries`.

    Raises:
      ValueError: a picture that cannot be read; it is named.
    """
    columns = columns_of(methods)
    keys = {column: f"c{i}" for i, column in enumerate(columns)}
    titles = distinct_titles(columns)
    heads = {column: _Head(keys[column], titles[column], column.protocol, column.better) for column in columns}
    best = {column: best_of(methods, column) for column in columns}
    runs = [run for method in methods for run in method.runs + method.unfinished]
    missing = {group: command for group, command in GROUPS.items() if group not in {c.group for c in columns}}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        marker=MARKER,
        made=made,
        date=date,
        num_runs=len(runs),
        datasets=sorted({method.dataset for method in methods}),
        small=any(method.dataset == _SMALL for method in methods),
        remarks=remarks,
        missing=missing,
        rows=[_row(method, heads, best) for method in methods],
        controls=[_control_row(control, heads) for control in controls_of(methods)],
        main=_tables([column for column in columns if column.main], heads),
        further=_tables([column for column in columns if not column.main], heads),
        generated=GENERATED,
        protocols=_grouped([column for column in columns if column.protocol], heads),
        charts=[of_chart(chart) for chart in [*robustness_curves(methods), *training_curves(methods)]],
        classes=[of_chart(chart) for chart in class_tables(methods)],
        samples=[(method.name, grid) for method in methods if (grid := sample_grid(method))],
        drawings=drawings_by_kind(drawings),
        plots=[(method.name, pictures) for method in methods if (pictures := plots(method))],
        published=side_by_side(methods, columns, entries),
        audits=[audit(run) for run in runs],
        lineage=lineage(methods, name),
        facts=[(method.name, [run_facts(run) for run in method.runs + method.unfinished]) for method in methods],
        data=as_data(methods),
    )


def _row(method: Method, heads: dict[Column, _Head], best: dict[Column, set[str]]) -> dict[str, Any]:
    cells = {}
    for column, head in heads.items():
        value = method.values.get(column)
        cells[head.key] = {
            "text": cell_text(method, column),
            "best": method.name in best[column],
            "measured": value is not None and value.mean is not None,
            "seeds": "" if value is None else ", ".join(f"seed {s}: {n:.6g}" for s, n in value.numbers.items()),
        }
    return {
        "name": method.name,
        "method": method.method,
        "seeds": seeds_text(method),
        "unfinished": [run.name for run in method.unfinished],
        "recoveries": ", ".join(f"seed {seed}: {count}" for seed, count in method.recoveries.items()),
        "cells": cells,
    }


def _control_row(control: Control, heads: dict[Column, _Head]) -> dict[str, Any]:
    cells = {
        head.key: {"text": control_text(control, column), "measured": column in control.values}
        for column, head in heads.items()
    }
    return {"name": control.name, "seeds": control.seeds, "cells": cells}


def _tables(columns: Sequence[Column], heads: dict[Column, _Head]) -> dict[str, list[_Head]]:
    """Headings of each table, by its group: those of a wide group in several tables, which then fit a page."""
    tables: dict[str, list[_Head]] = {}
    for group, chosen in _grouped(columns, heads).items():
        parts = -(-len(chosen) // _COLUMNS)
        for i in range(parts):
            name = group if parts == 1 else f"{group} ({i + 1} of {parts})"
            tables[name] = chosen[i * len(chosen) // parts : (i + 1) * len(chosen) // parts]
    return tables


def _grouped(columns: Sequence[Column], heads: dict[Column, _Head]) -> dict[str, list[_Head]]:
    groups: dict[str, list[_Head]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(heads[column])
    return groups
