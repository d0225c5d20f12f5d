"""Generated images beside the training images nearest to them (JEAT Fig. 7)."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.figures.style import panels


class NeighbourGrid(NamedTuple):
    """The images shown.

    Attributes:
      images: float[N, H, W, C] in [0, 1], the generated ones.
      neighbours: float[N, k, H, W, C] in [0, 1], of the training set, the nearest first.
      indices: int[N, k], their places in the training set.
      distances: float[N, k], as measured.
    """

    images: np.ndarray
    neighbours: np.ndarray
    indices: np.ndarray
    distances: np.ndarray


def neighbours(
    images: np.ndarray, training: np.ndarray, *, indices: np.ndarray, distances: np.ndarray
) -> NeighbourGrid:
    """Generated images with their nearest training images, as found by whatever measure.

    Args:
      images: float[N, H, W, C] in [0, 1].
      training: float[M, H, W, C] in [0, 1].
      indices: int[N, k] into `training`, the nearest first.
      distances: float[N, k], distance or similarity of each.

    Raises:
      ValueError: images of another shape than the training set's, indices or distances that are not [N, k], or indices
        beyond the training set.
    """
    if images.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"expected images of the training set's shape {list(training.shape[1:])}, received {list(images.shape[1:])}"
        )
    if indices.ndim != 2 or len(indices) != len(images) or indices.shape != distances.shape:
        raise ValueError(
            f"expected indices and distances [{len(images)}, k], received {list(indices.shape)} and "
            f"{list(distances.shape)}"
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < len(training):
        raise ValueError(
            f"expected indices in [0, {len(training)}), received {indices.min()} to {indices.max()}; are they of "
            "another training set?"
        )
    return NeighbourGrid(images, training[indices], indices, distances)


def draw_neighbours(shown: NeighbourGrid, *, measure: str) -> Figure:
    """Generated images in the left column, their nearest training images to the right, with how near they are.

    Args:
      shown: of `neighbours`.
      measure: what the distances are, e.g. "1 - SSIM" or "l2 distance in pixels".
    """
    count, nearest = shown.indices.shape
    height, width = shown.images.shape[1:3]
    tall = height / width
    gap, room = 0.5, 0.3  # between the columns; under an image, for its number; in widths of an image
    figure, axes = panels(1, 1, width=0.62 * (nearest + 1 + gap) + 0.2, height=0.62 * count * (tall + room) + 0.7)
    ax = axes[0, 0]
    for i in range(count):
        top = i * (tall + room)
        columns = [(0.0, shown.images[i])] + [(1 + gap + j, shown.neighbours[i, j]) for j in range(nearest)]
        for left, image in columns:
            ax.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, extent=(left, left + 0.94, top + tall, top))
        for j in range(nearest):
            number = f"{shown.distances[i, j]:.2f}"
            ax.text(1 + gap + j + 0.47, top + tall + 0.04, number, ha="center", va="top", fontsize=7)
    ax.set(xlim=(-0.05, nearest + 1 + gap), ylim=(count * (tall + room), -0.05), aspect="equal")
    ax.set_axis_off()
    ax.text(0.47, -0.12, "generated", ha="center", va="bottom", fontsize=9)
    ax.text(1 + gap, -0.12, f"nearest training images, {measure}", ha="left", va="bottom", fontsize=9)
    return figure
