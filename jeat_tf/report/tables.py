"""Numbers as text, and tables of them in Markdown, LaTeX and JSON."""

import math
from collections.abc import Sequence
from typing import Any

from jeat_tf.report.measures import COST, Column
from jeat_tf.report.summary import Control, Mean, Method, columns_of, controls_of, status

NOT_MEASURED = "not measured"
MARKER = "written by jeat_tf.report"
"""In every file of a report, so that only those are replaced."""

_DIGITS = 3  # significant, of numbers that are no percentages
_MARKDOWN = {character: f"\\{character}" for character in "\\`*_{}[]#|~"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def number_text(value: Mean, column: Column) -> str:
    """ "98.3 ± 0.4" over seeds, "98.3" of one, or why there is none."""
    if value.mean is None:
        return value.refused
    decimals = _decimals(value.mean, column)
    digits = ".2e" if decimals is None else f",.{decimals}f"
    # Steps and passes are counted: that seeds agree in them is no measurement.
    counted = column.group == COST and value.std == 0
    return f"{value.mean:{digits}}" + ("" if value.std is None or counted else f" ± {value.std:{digits}}")


def best_of(methods: Sequence[Method], column: Column) -> set[str]:
    """Names of the methods with the best mean of a column, as far as the digits shown tell; none of fewer than two."""
    means = {m.name: m.values[column].mean for m in methods if column in m.values}
    known = {name: mean for name, mean in means.items() if mean is not None}
    if not column.better or len(known) < 2:
        return set()
    best = max(known.values()) if column.better == "higher" else min(known.values())
    shown = number_text(Mean(best, None, {}), column)
    return {name for name, mean in known.items() if number_text(Mean(mean, None, {}), column) == shown}


def distinct_titles(columns: Sequence[Column]) -> dict[Column, str]:
    """Titles of columns; those that differ in their protocol alone get a letter."""
    of_title: dict[tuple[str, str], list[Column]] = {}
    for column in columns:
        of_title.setdefault((column.group, column.title), []).append(column)
    return {
        column: column.title if len(same) == 1 else f"{column.title} ({chr(ord('a') + i)})"
        for same in of_title.values()
        for i, column in enumerate(same)
    }


def markdown(methods: Sequence[Method], columns: Sequence[Column]) -> str:
    """A table for each group of columns; the best mean is bold."""
    titles = distinct_titles(columns)
    parts = []
    for group, chosen in _grouped(columns).items():
        head = ["method", "seeds", *(titles[column] for column in chosen)]
        lines = [_row([_escaped(text, _MARKDOWN) for text in head]), _row(["---"] * len(head))]
        for control in controls_in(methods, chosen):
            words = [control_text(control, column) for column in chosen]
            lines.append(_row([f"*{_escaped(control.name, _MARKDOWN)}*", str(control.seeds), *words]))
        for method in methods:
            cells = [_cell(method, column, methods, _MARKDOWN, "**{}**") for column in chosen]
            lines.append(_row([_escaped(method.name, _MARKDOWN), seeds_text(method), *cells]))
        alike: dict[str, list[str]] = {}
        for column in chosen:
            alike.setdefault(column.protocol, []).append(_escaped(titles[column], _MARKDOWN))
        protocols = [f"- {', '.join(names)}: {_escaped(how, _MARKDOWN)}" for how, names in alike.items() if how]
        parts.append("\n".join([f"## {_escaped(group, _MARKDOWN)}", "", *lines, "", *protocols]))
    return "\n\n".join(parts) + "\n"


def latex(methods: Sequence[Method], columns: Sequence[Column]) -> str:
    r"""A booktabs table for each group of columns, for `\usepackage{booktabs}`; the best mean is bold."""
    titles = distinct_titles(columns)
    parts = []
    for group, chosen in _grouped(columns).items():
        head = " & ".join(_escaped(text, _LATEX) for text in ["method", "seeds", *(titles[c] for c in chosen)])
        lines = [
            " & ".join(
                [rf"\emph{{{_escaped(control.name, _LATEX)}}}", str(control.seeds)]
                + [control_text(control, column).replace("±", r"$\pm$") for column in chosen]
            )
            + r" \\"
            for control in controls_in(methods, chosen)
        ]
        for method in methods:
            cells = [
                _cell(method, column, methods, _LATEX, r"\textbf{{{}}}").replace("±", r"$\pm$") for column in chosen
            ]
            lines.append(" & ".join([_escaped(method.name, _LATEX), seeds_text(method), *cells]) + r" \\")
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    rf"\caption{{{_escaped(group, _LATEX)}. Mean and sample standard deviation over seeds.}}",
                    rf"\begin{{tabular}}{{lr{'r' * len(chosen)}}}",
                    r"\toprule",
                    rf"{head} \\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def as_data(methods: Sequence[Method]) -> dict[str, Any]:
    """The summary as values that JSON has: columns by key, and for each method its means, deviations and seeds."""
    columns = columns_of(methods)
    titles = distinct_titles(columns)
    keys = {column: f"c{i}" for i, column in enumerate(columns)}
    return {
        "columns": {keys[column]: {**column._asdict(), "title": titles[column]} for column in columns},
        "methods": [
            {
                "name": method.name,
                "method": method.method,
                "dataset": method.dataset,
                "runs": {run.name: status(run) for run in method.runs + method.unfinished},
                "values": {keys[column]: _numbers(value) for column, value in method.values.items()},
            }
            for method in methods
        ],
        "controls": [
            {
                "name": control.name,
                "values": {keys[column]: _numbers(mean) for column, mean in control.values.items() if column in keys},
            }
            for control in controls_of(methods)
        ],
    }


def seeds_text(method: Method) -> str:
    """ "5", or "4 of 5" where runs did not finish."""
    every = len(method.runs) + len(method.unfinished)
    return f"{len(method.runs)} of {every}" if method.unfinished else str(every)


def cell_text(method: Method, column: Column) -> str:
    """The number, with the count of its seeds where that is not all of the method's; or "not measured"."""
    if column not in method.values:
        return NOT_MEASURED
    value = method.values[column]
    fewer = "" if len(value.numbers) == len(method.runs) else f" (n = {len(value.numbers)})"
    return number_text(value, column) + fewer


def controls_in(methods: Sequence[Method], columns: Sequence[Column]) -> list[Control]:
    """The control rows that have a number in one of the columns."""
    return [control for control in controls_of(methods) if any(column in control.values for column in columns)]


def control_text(control: Control, column: Column) -> str:
    """The number of a control; a dash where it has none, as it can have no accuracy."""
    return number_text(control.values[column], column) if column in control.values else "-"


def _decimals(mean: float, column: Column) -> int | None:
    """Digits after the point; None where the number is too small for them."""
    if column.unit == "%":
        return 1
    if mean == 0 or (float(mean).is_integer() and abs(mean) >= 1):
        return 0
    if abs(mean) < 1e-3:
        return None
    return max(_DIGITS - 1 - math.floor(math.log10(abs(mean))), 0)


def _grouped(columns: Sequence[Column]) -> dict[str, list[Column]]:
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    return groups


def _cell(method: Method, column: Column, methods: Sequence[Method], marks: dict[str, str], bold: str) -> str:
    text = _escaped(cell_text(method, column), marks)
    return bold.format(text) if method.name in best_of(methods, column) else text


def _escaped(text: str, marks: dict[str, str]) -> str:
    return "".join(marks.get(character, character) for character in " ".join(text.split()))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _numbers(value: Mean) -> dict[str, Any]:
    """Without numbers that JSON lacks: a mean that is not finite is none already."""
    numbers = {
        str(seed): number if abs(number) < float("inf") else str(number) for seed, number in value.numbers.items()
    }
    return {"mean": value.mean, "std": value.std, "seeds": numbers, "refused": value.refused}
