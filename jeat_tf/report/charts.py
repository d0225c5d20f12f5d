"""Curves of several methods, drawn for a page."""

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jeat_tf.core.balls import ball_of
from jeat_tf.figures.curves import draw_robustness_curves, draw_training_curves, training_quantities
from jeat_tf.figures.heat_maps import draw_heat_maps
from jeat_tf.figures.style import DARK
from jeat_tf.report.summary import Method
from jeat_tf.runs.results import AttackResults

_DPI = 110
_TABLES = 6  # of one method
_LINES = 8  # in a chart: more cannot be told apart


class Chart(NamedTuple):
    """A drawing as PNG for a light page and for a dark one, and what it shows."""

    png: bytes
    dark: bytes
    caption: str


def training_curves(methods: Sequence[Method]) -> Iterator[Chart]:
    """Logs over epochs of each method's first finished seed, a few methods in a chart; none without a history."""
    histories = {method.name: method.shown.history for method in methods}
    for runs in _few({name: entries for name, entries in histories.items() if entries}):
        if shown := training_quantities(runs):
            caption = f"Logs of training over epochs, first finished seed: {', '.join(runs)}"
            yield _chart(functools.partial(draw_training_curves, runs, shown), caption)


def robustness_curves(methods: Sequence[Method]) -> Iterator[Chart]:
    """Charts for each attack at several radii, of methods attacked alike; first finished seed of each."""
    alike: dict[tuple, dict[str, np.ndarray]] = {}
    for method in methods:
        report = method.shown.reports.get("evaluation/results.json")
        for key, correct in _over_epsilon(report) if isinstance(report, AttackResults) else ():
            alike.setdefault(key, {})[method.name] = correct
    for (attack, norm, epsilons, num_images, images), right in alike.items():
        for some in _few(right):
            balls = [ball_of(norm, e) for e in epsilons]
            trained = [method.shown.config.ball for method in methods if method.name in some]
            draw = functools.partial(
                draw_robustness_curves, balls, some, num_images=num_images, attack=attack, trained=trained
            )
            caption = f"Accuracy under {attack} over epsilon, {images}; first finished seed, 95% Wilson intervals"
            yield _chart(draw, f"{caption}: {', '.join(some)}")


def _over_epsilon(report: AttackResults) -> Iterator[tuple[tuple, np.ndarray]]:
    """(what curves of one chart share, number of images right at each radius) of attacks at several radii."""
    clean = [row for row in report.results if row.attack == "clean"]
    if "," in report.norm:  # one radius for each of several norms
        return
    for attack in dict.fromkeys(row.attack for row in report.results):
        attacked = sorted(
            (row for row in report.results if row.attack == attack and row.epsilon), key=lambda row: row.epsilon or 0.0
        )
        if len(attacked) < 2:
            continue
        shown = clean + attacked
        epsilons = tuple(row.epsilon for row in shown)
        images = f"{report.dataset}, {report.images}"
        yield (attack, report.norm, epsilons, shown[0].images, images), np.array([row.correct for row in shown])


def class_tables(methods: Sequence[Method]) -> Iterator[Chart]:
    """Which class is taken for which under each attack, at its first radius; the first finished seed of each method."""
    for method in methods:
        report = method.shown.reports.get("evaluation/results.json")
        rows = report.results if isinstance(report, AttackResults) else ()
        known = [np.sum(row.confusion, axis=1) for row in rows if row.confusion is not None]
        tables: dict[str, np.ndarray] = {}
        for row in rows:
            counts = row.reached or row.confusion
            if counts is not None and known:  # images of each class, which a table of all targets does not tell
                tables.setdefault(row.attack, 100 * np.array(counts) / np.maximum(known[0], 1)[:, None])
        if tables:
            shown = dict(list(tables.items())[:_TABLES])
            classes = [str(i) for i in range(len(next(iter(shown.values()))))]
            draw = functools.partial(draw_heat_maps, shown, classes, classes, down="class", across="taken for")
            yield _chart(draw, f"Images of each class by the class they are taken for, in per cent: {method.name}")


def _few(curves: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = list(curves)
    for i in range(0, len(names), _LINES):
        yield {name: curves[name] for name in names[i : i + _LINES]}


def _chart(draw: Callable[[], Figure], caption: str) -> Chart:
    light = _png(draw())
    with matplotlib.rc_context(DARK):
        return Chart(light, _png(draw()), caption)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()
