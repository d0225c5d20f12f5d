"""Nearest training images of generated ones, and whether they are nearer than chance allows."""

import math
from typing import NamedTuple

import numpy as np
import scipy.stats
import tensorflow as tf

from jeat_tf.core.checks import admit_images
from jeat_tf.data.labelled import Pixels


class Neighbours(NamedTuple):
    """The k nearest references of each query, nearest first.

    Attributes:
      indices: int64[N, k], into the references.
      distances: float64[N, k].
    """

    indices: np.ndarray
    distances: np.ndarray


class Memorisation(NamedTuple):
    """Whether generated images lie nearer to the training images than held-out ones do.

    Attributes:
      z: the rank sum in standard deviations from its mean under the same distribution; far below 0: copies.
      p_value: probability of such a z or a lower one if both had the same distribution.
      share_further: probability that a generated image is further from its nearest training image than a held-out
        image is from its own, ties counting a half: 0 for copies, 1/2 for fresh draws.
      generated_distance: median distance to the nearest training image.
      held_out_distance: the same of held-out images.
    """

    z: float
    p_value: float
    share_further: float
    generated_distance: float
    held_out_distance: float


def nearest_l2(queries: np.ndarray, references: np.ndarray, *, k: int = 10) -> Neighbours:
    """Nearest references by Euclidean distance, by scikit-learn's blockwise search.

    Args:
      queries: images float[N, H, W, C] in [0, 1], or features float[N, D].
      references: float[M, ...], the same of those to look among.
      k: neighbours for each query.

    Raises:
      ValueError: images that are no pixels in [0, 1], features that are not finite, shapes that differ, nothing to
        look for, k outside 1..M.
    """
    from sklearn.neighbors import NearestNeighbors

    queries, references = _rows("queries", queries), _rows("references", references)
    _check_sizes(queries, references, k)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(references)
    indices = search.kneighbors(queries, return_distance=False).astype(np.int64)
    # The search takes |a|^2 + |b|^2 - 2 a.b, whose rounding leaves copies at a distance above 0.
    distances = np.stack(
        [
            np.linalg.norm((q - references[near]).astype(np.float64), axis=1)
            for q, near in zip(queries, indices, strict=True)
        ]
    )
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1))


def ssim(a: np.ndarray | tf.Tensor, b: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Structural similarity float32[...] of images in [0, 1], `tf.image.ssim` (Wang et al., 2004); 1 is identical.

    The window is Gaussian with a standard deviation of 1.5 pixels and 11 pixels wide, or as wide as the image's
    shorter side where that is less: values of such images compare only with images of the same size.

    Args:
      a: float32[..., H, W, C].
      b: float32[..., H, W, C]; leading dimensions broadcast.
    """
    return tf.image.ssim(a, b, max_val=1.0, filter_size=min(11, *a.shape[-3:-1]))


def nearest_ssim(queries: np.ndarray, references: np.ndarray, *, k: int = 10, block_size: int = 512) -> Neighbours:
    """Nearest references by 1 - SSIM, as in JEAT's fig. 7; its distance is 0 for a copy and at most 2.

    `tf.image.ssim` takes milliseconds for a pair of 32x32 images on a CPU. Among many references, use
    `nearest_ssim_among` those that `nearest_l2` puts first, and say so: the nearest by SSIM need not be among them.

    Args:
      queries: float[N, H, W, C] in [0, 1].
      references: float[M, H, W, C] in [0, 1].
      k: neighbours for each query.
      block_size: references that a query is compared with at once.

    Raises:
      ValueError: images that are no pixels in [0, 1], shapes that differ, nothing to look for, k outside 1..M,
        block_size < 1.
    """
    queries, references = _images("queries", queries), _images("references", references)
    _check_sizes(queries, references, k)
    if block_size < 1:
        raise ValueError(f"expected block_size >= 1, received {block_size}")
    shape = list(references.shape[1:])
    signature = [tf.TensorSpec([1, *shape], tf.float32), tf.TensorSpec([None, *shape], tf.float32)]
    compiled = tf.function(ssim, signature, autograph=False).get_concrete_function()
    starts = range(0, len(references), block_size)
    indices, distances = [], []
    for i in range(len(queries)):
        parts = [compiled(*map(tf.constant, (queries[i : i + 1], references[j : j + block_size]))) for j in starts]
        row = 1.0 - np.concatenate(parts).astype(np.float64)
        indices.append(np.argsort(row, kind="stable")[:k])
        distances.append(row[indices[-1]])
    return Neighbours(np.stack(indices), np.stack(distances))


def nearest_ssim_among(
    queries: np.ndarray, references: np.ndarray | Pixels, candidates: np.ndarray, *, k: int = 10
) -> Neighbours:
    """`nearest_ssim` for each query among references of its own, such as those that `nearest_l2` puts first.

    Args:
      queries: float[N, H, W, C] in [0, 1].
      references: float[M, H, W, C] in [0, 1].
      candidates: int[N, n], indices of references.
      k: neighbours for each query.

    Raises:
      ValueError: as `nearest_ssim`.
    """
    parts = [nearest_ssim(queries[[i]], references[near], k=k) for i, near in enumerate(candidates)]
    return Neighbours(
        np.stack([near[part.indices[0]] for near, part in zip(candidates, parts, strict=True)]),
        np.concatenate([part.distances for part in parts]),
    )


def memorisation(generated: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> Memorisation:
    """The data-copying test of Meehan, Chaudhuri & Dasgupta, 2020, https://arxiv.org/abs/2004.05675.

    Z_U, the Mann-Whitney statistic of two sets of distances to the nearest training image, generated ones against
    held-out ones: their C_T with a single cell, so copies of one class can hide behind poor images of another. A z near
    0 is no proof of novelty: smooth images lie near to everything, poor ones far from it. Use features too.

    Args:
      generated: images float[N, H, W, C] in [0, 1], or features float[N, D].
      train: what the generator was trained on, in the same form.
      held_out: of the same distribution as `train` and disjoint from it, in the same form.

    Raises:
      ValueError: fewer than two in a set, shapes that differ, images that are no pixels in [0, 1], features that are
        not finite.
    """
    for name, values in {"generated": generated, "train": train, "held_out": held_out}.items():
        if len(values) < 2:
            raise ValueError(f"expected at least 2 rows in {name}, received {len(values)}")
    near, far = (nearest_l2(queries, train, k=1).distances[:, 0] for queries in (generated, held_out))
    test = scipy.stats.mannwhitneyu(near, far, alternative="less", method="asymptotic", use_continuity=False)
    pairs, total = len(near) * len(far), len(near) + len(far)
    ties = np.unique(np.concatenate([near, far]), return_counts=True)[1].astype(np.float64)
    variance = pairs / 12 * (total + 1 - np.sum(ties**3 - ties) / (total * (total - 1)))
    # Where all distances are equal there is no difference to test.
    z, p_value = ((test.statistic - pairs / 2) / math.sqrt(variance), test.pvalue) if variance > 0 else (0.0, 0.5)
    return Memorisation(
        z=float(z),
        p_value=float(p_value),
        share_further=float(test.statistic / pairs),
        generated_distance=float(np.median(near)),
        held_out_distance=float(np.median(far)),
    )


def _rows(name: str, values: np.ndarray) -> np.ndarray:
    """float32[N, D] or float64[N, D] of images or features."""
    values = np.asarray(values)
    if values.ndim == 4:
        return _images(name, values).reshape(len(values), -1)
    if values.ndim != 2:
        raise ValueError(f"expected {name} as images [N, H, W, C] or features [N, D], received {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError(f"expected finite features in {name}, received NaN or infinity")
    return values.astype(np.result_type(values, np.float32))


def _images(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if not len(values):
        raise ValueError(f"expected images in {name}, received none")
    return admit_images(values)


def _check_sizes(queries: np.ndarray, references: np.ndarray, k: int) -> None:
    if queries.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"expected queries and references of one shape, received {list(queries.shape[1:])} and "
            f"{list(references.shape[1:])}"
        )
    if not len(queries) or not 1 <= k <= len(references):
        raise ValueError(f"expected queries and k in 1..{len(references)}, received {len(queries)} queries and k = {k}")
