"""How much the images of one class differ among themselves, and which classes there are."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit_images, admit_labels
from jeat_tf.core.seeds import fold_in, split
from jeat_tf.core.types import Seed
from jeat_tf.metrics.neighbours import ssim

_BLOCK = 512  # pairs that are compared at once


class WithinClass(NamedTuple):
    """A mean over pairs of images of the same class.

    Attributes:
      mean: over classes, each counting the same.
      classes: int64[K], those that occur.
      per_class: float64[K].
      num_pairs: int64[K], pairs compared; all pairs of a class that has no more than the requested number.
    """

    mean: float
    classes: np.ndarray
    per_class: np.ndarray
    num_pairs: np.ndarray


def within_class_ssim(images: np.ndarray, labels: np.ndarray, *, seed: Seed, num_pairs: int = 100) -> WithinClass:
    """Mean SSIM of pairs within a class: 1 if a class is one image again and again, lower if it is diverse.

    Odena et al., 2017, sec. 4.2 (https://arxiv.org/abs/1610.09585), with SSIM at one scale, `neighbours.ssim`, because
    the five scales of theirs need 176 pixels. Noise has a low SSIM too: compare with that of the data.

    Args:
      images: float[N, H, W, C] in [0, 1].
      labels: int[N], the classes they were generated for.
      seed: int32[2], of the pairs.
      num_pairs: random pairs for each class, no image with itself.

    Raises:
      ValueError: images that are no pixels in [0, 1], labels that do not fit them, a class with one image,
        num_pairs < 1.
    """
    images, labels = admit_images(images), admit_labels(labels)
    _check(len(images), labels, num_pairs)
    return _within_class(lambda a, b: ssim(images[a], images[b]).numpy(), labels, seed, num_pairs)


def within_class_distance(features: np.ndarray, labels: np.ndarray, *, seed: Seed, num_pairs: int = 100) -> WithinClass:
    """Mean Euclidean distance of pairs of features within a class: 0 if a class is one image again and again.

    Args:
      features: float[N, D], e.g. of `classifier_features`.
      labels: int[N], the classes they were generated for.
      seed: int32[2], of the pairs.
      num_pairs: random pairs for each class, no row with itself.

    Raises:
      ValueError: features that are not finite [N, D], labels that do not fit them, a class with one row,
        num_pairs < 1.
    """
    features, labels = np.asarray(features, np.float64), admit_labels(labels)
    _check(len(features), labels, num_pairs)
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ValueError(f"expected finite features [N, D], received shape {list(features.shape)} or NaN or infinity")
    return _within_class(lambda a, b: np.linalg.norm(features[a] - features[b], axis=1), labels, seed, num_pairs)


def class_counts(predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """int64[num_classes], how many images a classifier sees of each class: 0 where a generator leaves a class out.

    Args:
      predicted: int[N], e.g. the argmax of a classifier's logits on generated images.
      num_classes: classes there are.

    Raises:
      ValueError: no images, labels outside 0..num_classes - 1.
    """
    predicted = np.asarray(predicted)
    if not len(predicted):
        raise ValueError("expected at least 1 predicted label, received none")
    predicted = admit_labels(predicted, num_classes)
    return np.bincount(predicted, minlength=num_classes)


def _within_class(
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray], labels: np.ndarray, seed: Seed, num_pairs: int
) -> WithinClass:
    """Means of compare(i, j), float[P] of indices int[P]."""
    classes, per_class, counts = np.unique(labels), [], []
    for label in classes:
        a, b = (
            np.flatnonzero(labels == label)[side] for side in _pairs(np.sum(labels == label), label, seed, num_pairs)
        )
        values = [compare(a[i : i + _BLOCK], b[i : i + _BLOCK]) for i in range(0, len(a), _BLOCK)]
        per_class.append(np.concatenate(values).mean(dtype=np.float64))
        counts.append(len(a))
    return WithinClass(float(np.mean(per_class)), classes.astype(np.int64), np.array(per_class), np.array(counts))


def _pairs(count: int, label: int, seed: Seed, num_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Two int[P] of places in 0..count - 1 that differ: all pairs if there are few, else random ones."""
    if count * (count - 1) // 2 <= num_pairs:
        return np.triu_indices(count, 1)
    seeds = split(fold_in(tf.constant(seed), label))
    first = tf.random.stateless_uniform([num_pairs], seeds[0], 0, count, tf.int32, alg="philox").numpy()
    shift = tf.random.stateless_uniform([num_pairs], seeds[1], 1, count, tf.int32, alg="philox").numpy()
    return first, (first + shift) % count


def _check(count: int, labels: np.ndarray, num_pairs: int) -> None:
    if len(labels) != count or count < 2:
        raise ValueError(f"expected at least 2 images and a label for each, received {count} and {len(labels)} labels")
    classes, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < 2:
        raise ValueError(f"expected at least 2 images of each class, received 1 of class {classes[sizes.argmin()]}")
    if num_pairs < 1:
        raise ValueError(f"expected num_pairs >= 1, received {num_pairs}")
