"""Where chains begin: (labels, seed) -> images.

Labels are checked in eager mode alone, by those starts that go by them.
"""

import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import check_labels
from jeat_tf.core.seeds import split
from jeat_tf.core.types import Images, Labels, Seed, Start
from jeat_tf.samplers.class_statistics import ClassStatistics


def uniform(image_shape: tuple[int, int, int], low: float = 0.0, high: float = 1.0) -> Start:
    """Uniform noise over the pixel range, whatever the label (JEAT Algorithm 1, JEM)."""

    def start(labels: Labels, seed: Seed) -> Images:
        return tf.random.stateless_uniform([tf.shape(labels)[0], *image_shape], seed, low, high, alg="philox")

    return start


def gaussian(image_shape: tuple[int, int, int], *, mean: float = 0.5, std: float = 0.25) -> Start:
    """Gaussian noise about mid-grey, clipped to [0, 1], whatever the label."""

    def start(labels: Labels, seed: Seed) -> Images:
        shape = [tf.shape(labels)[0], *image_shape]
        return tf.clip_by_value(tf.random.stateless_normal(shape, seed, mean, std, alg="philox"), 0.0, 1.0)

    return start


def class_gaussians(statistics: ClassStatistics) -> Start:
    """A draw from the Gaussian of the label's class, clipped to [0, 1] (JEM++; JEAT sec. 2.2).

    Args:
      statistics: `class_statistics(images, labels, num_classes)`, or `class_components(...)` for starts of class PCA.

    The start raises ValueError for labels that are not among its classes.
    """
    means, factors = tf.constant(statistics.means), tf.constant(statistics.factors)
    stds = tf.constant(statistics.stds) if statistics.stds.size else None
    num_classes, _, rank = factors.shape
    shape = [int(side) for side in statistics.image_shape]

    def start(labels: Labels, seed: Seed) -> Images:
        if tf.executing_eagerly():
            check_labels(labels, num_classes)
        labels = tf.cast(labels, tf.int32)
        noise = tf.random.stateless_normal([tf.shape(labels)[0], rank], seed, alg="philox")

        def shaped(k: int) -> tf.Tensor:
            return means[k] + tf.linalg.matmul(noise, factors[k], transpose_b=True)

        # One product for each class, each over all rows: K D R multiplications a row, against gathering a
        # factor for each row, which would move B D R floats.
        x = sum(tf.where((labels == k)[:, None], shaped(k), 0.0) for k in range(num_classes))
        if stds is not None:
            own = tf.random.stateless_normal(tf.shape(x), split(seed)[1], alg="philox")
            x += tf.gather(stds, labels) * own
        return tf.clip_by_value(tf.reshape(x, [-1, *shape]), 0.0, 1.0)

    return start


def mixture(statistics: ClassStatistics) -> Start:
    """A draw from the equal mixture of all classes' Gaussians, whatever the label, clipped to [0, 1]; by TFP."""
    import tensorflow_probability as tfp

    tfd = tfp.distributions
    num_classes = len(statistics.means)
    if statistics.stds.size:
        # TFP's diagonal plus low rank: a sum of an independent and a shared part, as ours is.
        components = tfd.MultivariateNormalDiagPlusLowRankCovariance(
            statistics.means, np.square(statistics.stds), statistics.factors
        )
    else:
        components = tfd.MultivariateNormalTriL(statistics.means, statistics.factors)
    weights = tfd.Categorical(probs=np.full(num_classes, 1 / num_classes, np.float32))
    density = tfd.MixtureSameFamily(weights, components)
    shape = [int(side) for side in statistics.image_shape]

    def start(labels: Labels, seed: Seed) -> Images:
        x = density.sample(tf.shape(labels)[0], seed=seed)
        return tf.clip_by_value(tf.reshape(x, [-1, *shape]), 0.0, 1.0)

    return start


def given(images: np.ndarray, classes: np.ndarray | None = None) -> Start:
    """Images that are there, a replay buffer's or anyone's, drawn by seed and with replacement.

    Args:
      images: float32[N, H, W, C] in [0, 1].
      classes: int[N], to draw an image of the label's class; every class that is asked for must be among them. None:
        any image, whatever the label. The start raises ValueError for other classes.

    Raises:
      ValueError: no images, or not a class for each.
    """
    if not len(images) or (classes is not None and len(classes) != len(images)):
        received = "" if classes is None else f" and {len(classes)} classes"
        raise ValueError(f"expected images, and a class for each of them or none, received {len(images)}{received}")

    def start(labels: Labels, seed: Seed) -> Images:
        if classes is not None and tf.executing_eagerly():
            check_labels(labels)
            if missing := np.setdiff1d(labels, classes).tolist():
                raise ValueError(f"expected labels among the classes of the images, received {missing}")
        order = tf.random.stateless_uniform([tf.shape(labels)[0], len(images)], seed, alg="philox")
        if classes is not None:
            fits = tf.cast(labels, tf.int64)[:, None] == tf.constant(classes, tf.int64)[None]
            order = tf.where(fits, order, -1.0)
        return tf.gather(tf.constant(images), tf.argmax(order, axis=1))

    return start
