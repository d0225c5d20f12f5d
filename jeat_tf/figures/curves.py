"""Numbers over epsilon and over epochs."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jeat_tf.core.balls import Ball
from jeat_tf.figures.style import add_legend, draw_band, line_styles, panels, set_title
from jeat_tf.metrics.intervals import wilson_interval

_ENERGIES, _ACCURACY = "energy E(x): data; dashed: negatives", "accuracy: validation; dashed: in training"
_TITLES = {
    "val_accuracy": _ACCURACY,
    "accuracy": _ACCURACY,
    "adv_accuracy": _ACCURACY,
    "val_robust_accuracy": "accuracy under PGD: validation",
    "cross_entropy": "cross-entropy",
    "gap": "gap of energies, data - negatives",
    "energy_pos": _ENERGIES,
    "energy_neg": _ENERGIES,
    "gradient_norm": "norm of the gradient",
    "saturation": "saturation of negatives",
}
"""Titles of the panels, in their order; quantities with one title share a panel."""
_DASHED = ("accuracy", "adv_accuracy", "energy_neg")
_LOG_FROM = 20  # largest over smallest gradient, from which on its axis is logarithmic


def draw_robustness_curves(
    balls: Sequence[Ball],
    right: dict[str, np.ndarray],
    *,
    num_images: int,
    attack: str,
    trained: Sequence[Ball] = (),
) -> Figure:
    """Accuracy under an attack over its epsilon, with 95% Wilson intervals as bands.

    Args:
      balls: of one norm, e.g. `[Linf(e / 255) for e in (0, 2, 4, 8)]`; radius 0 is clean accuracy.
      right: int[len(balls)] of each net, by name: images classified as their label.
      num_images: attacked.
      attack: its name, for the title.
      trained: balls that the nets were trained in; a line marks them if they are one, of the attack's norm.

    Raises:
      ValueError: balls of several norms, counts that are not one for each ball, or above `num_images`.
    """
    norms = {ball.norm for ball in balls}
    if len(norms) != 1:
        raise ValueError(f"expected balls of one norm, received {sorted(norms)}")
    norm = norms.pop()
    figure = _over_epsilon(norm, [ball.epsilon for ball in balls], right, num_images, attack)
    if len(set(trained)) == 1 and trained[0].norm == norm:
        ax = figure.axes[0]
        radius = trained[0].epsilon * _unit(norm)
        ax.axvline(radius, color=matplotlib.rcParams["text.color"], linewidth=0.8, linestyle=":")
        left = radius > np.mean(ax.get_xlim())  # of the line, where the words stay inside the panel
        side: dict[str, Any] = {"xytext": (-3 if left else 3, 0), "ha": "right" if left else "left"}
        ax.annotate("trained with", (radius, 2), textcoords="offset points", fontsize=8, **side)
    return figure


def draw_distance_curves(
    norm: str, epsilons: Sequence[float], right: dict[str, np.ndarray], *, num_images: int
) -> Figure:
    """Accuracy over epsilon as least distances give it, with 95% Wilson intervals as bands.

    Args:
      norm: "linf", "l2" or "l1".
      epsilons: radii in pixels.
      right: int[len(epsilons)] of each attack, by name: images without an adversarial image inside the radius.
      num_images: attacked.

    Raises:
      ValueError: counts that are not one for each radius, or above `num_images`.
    """
    return _over_epsilon(norm, epsilons, right, num_images, "the nearest adversarial images")


def _over_epsilon(
    norm: str, radii: Sequence[float], right: dict[str, np.ndarray], num_images: int, attack: str
) -> Figure:
    epsilons = np.array(radii) * _unit(norm)
    figure, axes = panels(1, 1, width=5.0, height=3.6)
    ax = axes[0, 0]
    for name, style in line_styles(right).items():
        counts = np.asarray(right[name])
        if counts.shape != epsilons.shape or counts.max() > num_images:
            raise ValueError(
                f"expected {len(epsilons)} counts of at most {num_images} images, received {counts.tolist()} for {name}"
            )
        low, high = np.array([wilson_interval(int(count), num_images) for count in counts]).T
        draw_band(ax, epsilons, 100 * counts / num_images, 100 * low, 100 * high, name, style)
    radius = "l-inf radius in 1/255 of the pixel range" if norm == "linf" else f"{norm} radius, pixels in [0, 1]"
    ax.set(title=f"{attack}, {num_images} images", xlabel=f"epsilon ({radius})", ylabel="accuracy (%)", ylim=(0, 101))
    add_legend(figure, ax)
    return figure


def _unit(norm: str) -> int:
    """l-inf radii are published in 255ths of the pixel range, other radii in pixels."""
    return 255 if norm == "linf" else 1


def training_quantities(runs: dict[str, list[dict[str, float]]]) -> list[str]:
    """The logs with a panel that some run has, in the order of the panels."""
    known = {name for entries in runs.values() for entry in entries for name in entry}
    return [quantity for quantity in _TITLES if quantity in known]


def draw_training_curves(runs: dict[str, list[dict[str, float]]], quantities: Sequence[str]) -> Figure:
    """A panel for each quantity over epochs, a line for each run; both energies share a panel, and clean accuracies.

    Args:
      runs: entries of `history.json`, by name; an entry without a quantity is passed over.
      quantities: names of logs, e.g. "val_accuracy".

    Raises:
      ValueError: a quantity that no run has.
    """
    known = {name for entries in runs.values() for entry in entries for name in entry}
    unknown = [quantity for quantity in quantities if quantity not in known]
    if unknown:
        raise ValueError(f"expected quantities among {sorted(known)}, received {unknown}")
    titles = dict.fromkeys(_TITLES.get(quantity, quantity) for quantity in quantities)
    columns = _columns(len(titles))
    figure, axes = panels(math.ceil(len(titles) / columns), columns, height=2.8)
    styles = line_styles(runs)
    for ax, title in zip(axes.flat, titles, strict=False):
        for quantity in (each for each in quantities if _TITLES.get(each, each) == title):
            for name, entries in runs.items():
                points = [(entry["epoch"], entry[quantity]) for entry in entries if quantity in entry]
                marker = "o" if len(points) == 1 else None  # a line through one point cannot be seen
                curve = zip(*points, strict=True) if points else ([], [])
                dashed = {"linestyle": "--"} if quantity in _DASHED else {}
                label = "_" if dashed else name
                ax.plot(*curve, linewidth=1.4, marker=marker, **styles[name] | dashed, label=label)
            shown = [entry[quantity] for entries in runs.values() for entry in entries if quantity in entry]
            if quantity == "gradient_norm" and 0 < min(shown) * _LOG_FROM < max(shown):
                ax.set_yscale("log")
        set_title(ax, title, inches=3.4)
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes.flat[len(titles) :]:
        ax.set_visible(False)
    handles = {label: handle for ax in axes.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    add_legend(figure, axes[0, 0], handles)
    return figure


def _columns(count: int) -> int:
    """Of so many panels: those that leave the fewest places empty."""
    return {1: 1, 2: 2, 4: 2}.get(count) or min((3, 4), key=lambda columns: -count % columns)
