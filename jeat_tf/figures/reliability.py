"""Whether confidence is the chance of being right."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.figures.style import add_legend, line_styles, panels
from jeat_tf.metrics.intervals import wilson_interval


class ReliabilityBins(NamedTuple):
    """Images binned by their confidence.

    Attributes:
      confidence: float[B], mean of max p(y | x) over the images of a bin.
      accuracy: float[B], share of them that is right.
      num_images: int[B], in the bin; where it is 0 the others are not read.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    num_images: np.ndarray


def draw_reliability(nets: dict[str, ReliabilityBins]) -> Figure:
    """Accuracy over confidence, where a calibrated net is on the diagonal, above the share of images in each bin.

    Bars are 95% Wilson intervals of the accuracy: a bin of few images says little. Bins without images are left out.
    The legend has the expected calibration error of these bins, the mean over images of the distance to the diagonal.

    Args:
      nets: by name.

    Raises:
      ValueError: a net without images.
    """
    figure, axes = panels(2, 1, width=4.6, height=2.6, sharex=True, gridspec_kw={"height_ratios": [2.4, 1]})
    upper, lower = axes[:, 0]
    upper.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="calibrated")
    for name, style in line_styles(nets).items():
        confidence, accuracy, count = (array[nets[name].num_images > 0] for array in nets[name])
        if not len(count):
            raise ValueError(f"expected bins with images, received none for {name}")
        share = count / count.sum()
        error = float(np.sum(share * np.abs(accuracy - confidence)))
        low, high = np.array([wilson_interval(round(a * n), n) for a, n in zip(accuracy, count, strict=True)]).T
        upper.plot(confidence, accuracy, marker="o", markersize=4, label=f"{name} (ECE {error:.1%})", **style)
        upper.vlines(confidence, low, high, color=style["color"], linewidth=1, alpha=0.6)
        lower.plot(confidence, share, marker="o", markersize=3, **style)
    upper.set(ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    lower.set(xlabel="confidence, max p(y | x)", ylabel="share of images", yscale="log", ylim=(None, 1.2))
    add_legend(figure, upper)
    return figure
