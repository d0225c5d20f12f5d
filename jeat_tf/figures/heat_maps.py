"""Tables of percentages as colours."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.figures.style import panels, set_title, shades

_CELL = 0.34  # inches, room for "100"
_LIGHT = 0.4  # luminance above which text on a cell is black
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
_ACROSS = 3  # tables beside each other


def draw_heat_maps(
    tables: dict[str, np.ndarray], rows: Sequence[str], columns: Sequence[str], *, down: str, across: str
) -> Figure:
    """Tables side by side, each cell with its percentage; a cell of NaN is empty.

    Args:
      tables: float[len(rows), len(columns)] in per cent, by name.
      rows: names of the rows.
      columns: names of the columns.
      down: what the rows are.
      across: what the columns are.

    Raises:
      ValueError: no table, or one of another shape.
    """
    shape = (len(rows), len(columns))
    wrong = [name for name, table in tables.items() if np.shape(table) != shape]
    if wrong or not tables:
        raise ValueError(f"expected tables of {shape[0]} x {shape[1]} numbers, received {wrong or 'none'}")
    beside = min(len(tables), _ACROSS)
    lines = math.ceil(len(tables) / beside)
    margin = 0.4 + 0.08 * max(map(len, rows))
    width = margin + _CELL * len(columns)
    below = 0.4 + (0.08 * max(map(len, columns)) if max(map(len, columns)) > 2 else 0.2)
    figure, axes = panels(lines, beside, width=max(width, 2.0), height=below + 0.4 + _CELL * len(rows))
    colours = shades()
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        ax.imshow(table, cmap=colours, vmin=0, vmax=100, aspect="auto")
        for (i, j), number in np.ndenumerate(table):
            if np.isfinite(number):
                light = np.dot(colours(number / 100)[:3], _LUMINANCE) > _LIGHT
                colour = "black" if light else "white"
                ax.text(j, i, f"{number:.0f}", ha="center", va="center", fontsize=7, color=colour)
        ax.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 2 else 0, fontsize=8)
        ax.set_yticks(range(len(rows)), rows, fontsize=8)
        ax.set(xlabel=across, ylabel=down)
        set_title(ax, name, inches=width)
    for ax in axes.flat[len(tables) :]:
        ax.set_visible(False)
    return figure
