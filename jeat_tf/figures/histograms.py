"""How scores are spread inside and outside of the training distribution."""

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.figures.style import add_legend, line_styles, panels


def draw_score_histograms(edges: np.ndarray, counts: dict[str, np.ndarray], *, score: str) -> Figure:
    """Histograms of one score over several sets of images, as shares of each set; the first is filled.

    Args:
      edges: float[B + 1], increasing, the same for all sets.
      counts: int[B] of each set, by name, the in-distribution first.
      score: what is scored, e.g. "log p(x) + constant".

    Raises:
      ValueError: counts that are not one for each bin, or that are all zero.
    """
    figure, axes = panels(1, 1, width=5.4, height=3.6)
    ax = axes[0, 0]
    for i, (name, style) in enumerate(line_styles(counts).items()):
        count = counts[name]
        if count.shape != (len(edges) - 1,) or not count.sum() > 0:
            raise ValueError(f"expected {len(edges) - 1} counts, not all zero, received {count.tolist()} for {name}")
        share = count / count.sum()
        if i == 0:
            ax.stairs(share, edges, fill=True, color=style["color"], alpha=0.35, label=name)
        else:
            ax.stairs(share, edges, linewidth=1.6, label=name, **style)
    ax.set(xlabel=score, ylabel="share of images in a bin")
    add_legend(figure, ax)
    return figure
