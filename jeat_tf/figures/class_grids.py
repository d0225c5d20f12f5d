"""Generated images of several methods, a row for each class (JEAT Fig. 4, 5, 6 and 8)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.core.image_grid import grid
from jeat_tf.figures.style import panels, set_title

_PADDING = 3  # pixels of the picture between images
_IMAGE = 0.36  # inches, the width of an image
_NARROWEST = 2.0  # inches of a panel: room for its title


class ClassGrid(NamedTuple):
    """The images shown.

    Attributes:
      methods: str[M].
      classes: str[K], names of the rows.
      images: float32[M, K, n, H, W, C] in [0, 1].
    """

    methods: np.ndarray
    classes: np.ndarray
    images: np.ndarray


def class_grid(
    images: dict[str, np.ndarray],
    labels: np.ndarray,
    *,
    per_class: int = 10,
    classes: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
) -> ClassGrid:
    """The first `per_class` images of each class by each method; none is chosen for its looks.

    Args:
      images: float[N, H, W, C] in [0, 1] of each method, by name; the same labels for all.
      labels: int[N], the requested classes.
      per_class: images in a row.
      classes: rows; None shows each class of the labels.
      class_names: by class index; None shows the indices.

    Raises:
      ValueError: methods with different shapes, not as many labels as images, or fewer images of a class than in a row.
    """
    shapes = {name: array.shape for name, array in images.items()}
    if not shapes or len(set(shapes.values())) != 1:
        raise ValueError(f"expected images of one shape by every method, received {shapes}")
    if len(next(iter(images.values()))) != len(labels):
        raise ValueError(f"expected a label for each image, received images {shapes} and {len(labels)} labels")
    shown = np.unique(labels) if classes is None else np.asarray(classes)
    places = [np.flatnonzero(labels == k)[:per_class] for k in shown]
    for k, of_class in zip(shown, places, strict=True):
        if len(of_class) < per_class:
            raise ValueError(f"expected {per_class} images of class {k}, received {len(of_class)}; lower per_class")
    return ClassGrid(
        methods=np.array(list(images)),
        classes=np.array([str(k) if class_names is None else class_names[k] for k in shown]),
        images=np.stack([array[np.stack(places)] for array in images.values()]).astype(np.float32),
    )


def draw_class_grid(shown: ClassGrid) -> Figure:
    """A panel for each method: side by side, four in a row at most, or one above the other where one class is shown.

    Args:
      shown: of `class_grid`.
    """
    methods, classes, per_class, height, width, channels = shown.images.shape
    rows = methods if classes == 1 else math.ceil(methods / 4)
    scale = max(1, 48 // height)
    inches = max(per_class * _IMAGE, _NARROWEST)
    figure, axes = panels(
        rows,
        math.ceil(methods / rows),
        width=inches + 0.5,
        height=classes * _IMAGE * height / width + 0.4,
    )
    for ax, name, images in zip(axes.flat, shown.methods, shown.images, strict=False):
        picture = grid(images.reshape(-1, height, width, channels), per_class, scale=scale, padding=_PADDING)
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
        ax.set_anchor("N")  # at its title, for which the layout leaves room above the whole panel
        set_title(ax, str(name), inches=inches)
        ax.set(xticks=[], yticks=(np.arange(classes) + 0.5) * (height * scale + _PADDING))
        ax.set_yticklabels(shown.classes if ax in axes[:, 0] else [])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    for ax in axes.flat[methods:]:
        ax.set_visible(False)
    return figure
