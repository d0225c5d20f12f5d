"""Faults of images that one would see at once: saturated pixels, near copies, and chains that spoil their start."""

from typing import NamedTuple

import numpy as np

from jeat_tf.metrics.chain_diagnostics import saturation
from jeat_tf.metrics.neighbours import nearest_l2

_NEAR = 0.01  # share of real images that are nearer than the distance below which an image is a near copy
_MANY = 0.1  # share of near copies that is worth a warning: ten times that of real images
_OPEN = 0.5  # of the pixels that real images leave inside the range, the share that saturated images may take


class Looks(NamedTuple):
    """How images look beside real images, without a net.

    Attributes:
      saturated: share of values at or beyond 0 or 1.
      saturated_of_real: the same of the real images.
      distance: median l2 distance to the nearest real image.
      distance_of_start: the same of the images that the chains began at; None where these are not known.
      copies_of_each_other: share that is nearer to another image of its class than all but 1% of real images are.
      copies_of_real: share that is nearer to a real image than all but 1% of real images are to another one.
    """

    saturated: float
    saturated_of_real: float
    distance: float
    distance_of_start: float | None
    copies_of_each_other: float
    copies_of_real: float

    def warnings(self) -> list[str]:
        """A sentence for each fault."""
        found = []
        if self.saturated > self.saturated_of_real + _OPEN * (1 - self.saturated_of_real):
            found.append(
                f"the chains saturate: {self.saturated:.0%} of the pixels are at 0 or 1, against "
                f"{self.saturated_of_real:.0%} of real images; take a smaller step, fewer steps, or --tune"
            )
        if self.distance_of_start is not None and self.distance > self.distance_of_start:
            found.append(
                "the chains leave their start worse than it was: the median l2 distance to the nearest training image "
                f"is {self.distance:.2f}, and was {self.distance_of_start:.2f}; take a smaller step, fewer steps, or "
                "--tune"
            )
        if self.copies_of_each_other > _MANY:
            found.append(
                f"{self.copies_of_each_other:.0%} of the images are near copies of another one of their class; take "
                "more noise, or starts that differ more"
            )
        if self.copies_of_real > _MANY:
            found.append(
                f"{self.copies_of_real:.0%} of the images are near copies of training images; take more steps, or a "
                "start that does not hold them"
            )
        return found


def looks(
    images: np.ndarray,
    labels: np.ndarray,
    real_images: np.ndarray,
    real_labels: np.ndarray,
    *,
    starts: np.ndarray | None = None,
) -> Looks | None:
    """How images look beside real images of the same classes; None where there are fewer than two on a side.

    Images that are not finite are left out. Distances are l2 over all values, so that a change of brightness counts.

    Args:
      images: float[N, H, W, C].
      labels: int[N], the requested classes, or those that a classifier sees.
      real_images: float[M, H, W, C] in [0, 1], e.g. those of training.
      real_labels: int[M].
      starts: float[N, H, W, C], where the images' chains began.
    """
    whole = np.isfinite(images).all(axis=(1, 2, 3))
    images, labels = images[whole], np.asarray(labels)[whole]
    if min(len(images), len(real_images)) < 2:
        return None
    rows, real = _rows(images), _rows(real_images)
    among_real = nearest_l2(real, real, k=2).distances[:, 1]
    to_real = nearest_l2(rows, real, k=1).distances[:, 0]
    began = None if starts is None else nearest_l2(_rows(starts[whole]), real, k=1).distances[:, 0]
    return Looks(
        saturated=float(saturation(images).mean()),
        saturated_of_real=float(saturation(real_images).mean()),
        distance=float(np.median(to_real)),
        distance_of_start=None if began is None else float(np.median(began)),
        copies_of_each_other=_copies(rows, labels, real, np.asarray(real_labels)),
        copies_of_real=_nearer(to_real, among_real),
    )


def _copies(rows: np.ndarray, labels: np.ndarray, real: np.ndarray, real_labels: np.ndarray) -> float:
    """Share of rows near to another one of their class, among as many rows as real ones; 0 where none can be told."""
    ours, theirs = [], []
    for label in np.intersect1d(labels, real_labels):
        pair = rows[labels == label], real[real_labels == label]
        num = min(map(len, pair))  # the more images there are, the nearer is the nearest
        if num > 1:
            found = [nearest_l2(few[:num], few[:num], k=2).distances[:, 1] for few in pair]
            ours.append(found[0])
            theirs.append(found[1])
    if not ours:
        return 0.0
    return _nearer(np.concatenate(ours), np.concatenate(theirs))


def _nearer(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of distances below nearly all of the others; where real images have doubles, of distances of 0."""
    near = np.quantile(theirs, _NEAR)
    return float(np.mean(ours < near if near > 0 else ours == 0))


def _rows(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float32).reshape(len(images), -1)
