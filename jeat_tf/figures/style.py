"""What the figures share: panels, and colours that the colour-blind can tell apart."""

import textwrap
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe & Ito, 2008, without its yellow, which is too light for lines on white; its black is the colour of the text.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_COLOURS_ON_DARK = ("#4DA6E0", "#F08A4B", "#2FBF8F", "#E39CC6", "#9AD1F5", "#F2BD4A")  # the same hues, lighter
_ON_DARK = dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "legend.labelcolor"), "#e7e5df"
)
DARK = _ON_DARK | dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "#1c1f23")
"""What matplotlib draws with on a dark page: `with matplotlib.rc_context(DARK): ...`."""
_BLUES = LinearSegmentedColormap.from_list("blues", ("#f7fbff", "#6baed6", "#08306b"))
_BLUES_ON_DARK = LinearSegmentedColormap.from_list("blues_on_dark", ("#22272d", "#2f6d9c", "#c9e6fa"))
_DASHES = ("-", "--", ":")
_LETTER = 0.09  # inches, the width of a letter of size 10, on the safe side


def panels(rows: int, columns: int, *, width: float = 3.4, height: float = 3.0, **kwargs: Any) -> tuple[Figure, Any]:
    """A figure, outside pyplot's state, and its axes, object[rows, columns].

    Args:
      rows: of panels.
      columns: of panels.
      width: of a panel in inches.
      height: of a panel in inches.
      **kwargs: for `Figure.subplots`, e.g. `sharey=True`.
    """
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def line_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each name's line: the first 21 names all differ."""
    colours = (*(_COLOURS_ON_DARK if _is_dark() else _COLOURS), matplotlib.rcParams["text.color"])
    return {
        name: {"color": colours[i % len(colours)], "linestyle": _DASHES[i // len(colours) % len(_DASHES)]}
        for i, name in enumerate(names)
    }


def shades() -> Colormap:
    """Colours from that of the page, for little, to the one that differs most from it."""
    return _BLUES_ON_DARK if _is_dark() else _BLUES


def _is_dark() -> bool:
    return matplotlib.rcParams["text.color"] == DARK["text.color"]


def set_title(axes: Axes, name: str, *, inches: float) -> None:
    """The name above a panel, in as many lines as it takes at that width."""
    axes.set_title(textwrap.fill(name, max(int(inches / _LETTER), 8)), fontsize=10)


def draw_band(
    axes: Axes, x: np.ndarray, center: np.ndarray, low: np.ndarray, high: np.ndarray, label: str, style: dict[str, Any]
) -> None:
    """A line with points, and a pale band around it."""
    axes.plot(x, center, marker="o", markersize=3, linewidth=1.4, label=label, **style)
    axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)


def add_legend(figure: Figure, axes: Axes, entries: dict[str, Any] | None = None) -> None:
    """One legend for all panels, above them and outside the data.

    Args:
      figure: that gets it.
      axes: a panel whose lines are named.
      entries: lines by name, where no panel has all of them.
    """
    handles, labels = axes.get_legend_handles_labels()
    if entries is not None:
        handles, labels = list(entries.values()), list(entries)
    entry = 0.6 + _LETTER * max(map(len, labels))  # inches: the sample of the line, and the letters
    columns = max(1, int(figure.get_figwidth() / entry))
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), columns), frameon=False)
