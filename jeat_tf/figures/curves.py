"""Numbers over epsilon and over epochs."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.core.balls import Ball
from jeat_tf.figures.style import add_legend, draw_band, line_styles, panels
from jeat_tf.metrics.intervals import wilson_interval


def draw_robustness_curves(
    balls: Sequence[Ball], right: dict[str, np.ndarray], *, num_images: int, attack: str
) -> Figure:
    """Accuracy under an attack over its epsilon, with 95% Wilson intervals as bands.

    Args:
      balls: of one norm, e.g. `[Linf(e / 255) for e in (0, 2, 4, 8)]`; radius 0 is clean accuracy.
      right: int[len(balls)] of each net, by name: images classified as their label.
      num_images: attacked.
      attack: its name, for the title.

    Raises:
      ValueError: balls of several norms, counts that are not one for each ball, or above `num_images`.
    """
    norms = {ball.norm for ball in balls}
    if len(norms) != 1:
        raise ValueError(f"expected balls of one norm, received {sorted(norms)}")
    return _over_epsilon(norms.pop(), [ball.epsilon for ball in balls], right, num_images, attack)


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
    # l-inf radii are published in 255ths of the pixel range, other radii in pixels.
    epsilons = np.array(radii) * (255 if norm == "linf" else 1)
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


def draw_training_curves(runs: dict[str, list[dict[str, float]]], quantities: Sequence[str]) -> Figure:
    """A panel for each quantity over epochs, a line for each run.

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
    rows = math.ceil(len(quantities) / 3)
    figure, axes = panels(rows, math.ceil(len(quantities) / rows), height=2.8)
    styles = line_styles(runs)
    for ax, quantity in zip(axes.flat, quantities, strict=False):
        for name, entries in runs.items():
            points = [(entry["epoch"], entry[quantity]) for entry in entries if quantity in entry]
            marker = "o" if len(points) == 1 else None  # a line through one point cannot be seen
            curve = zip(*points, strict=True) if points else ([], [])
            ax.plot(*curve, linewidth=1.4, marker=marker, label=name, **styles[name])
        ax.set(title=quantity, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes.flat[len(quantities) :]:
        ax.set_visible(False)
    add_legend(figure, axes[0, 0])
    return figure
