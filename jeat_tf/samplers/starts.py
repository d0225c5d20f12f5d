"""Where chains begin: (labels, seed) -> images."""

import numpy as np
import tensorflow as tf

from jeat_tf.types import Images, Labels, Seed, Start

_JITTER = 1e-4  # added to the variance of every pixel, as JEM++ and Santurkar et al. do: most covariances are singular


def uniform(image_shape: tuple[int, int, int], low: float = 0.0, high: float = 1.0) -> Start:
    """Uniform noise over the pixel range, whatever the label (JEAT Algorithm 1, JEM)."""

    def start(labels: Labels, seed: Seed) -> Images:
        return tf.random.stateless_uniform([tf.shape(labels)[0], *image_shape], seed, low, high, alg="philox")

    return start


def class_gaussians(images: np.ndarray, labels: np.ndarray, num_classes: int) -> Start:
    """A draw from N(mean, covariance) of the label's class, clipped to [0, 1] (JEM++; JEAT sec. 2.2).

    Args:
      images: float32[N, H, W, C] in [0, 1], the training images.
      labels: int[N].
      num_classes: K; the start keeps K full covariances, K (H W C)^2 floats.

    Raises:
      ValueError: a class has fewer than two images.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise ValueError(f"expected at least 2 images of each class for class Gaussians, received {counts.tolist()}")
    shape = images.shape[1:]
    flat = images.reshape(len(images), -1)
    means = np.empty((num_classes, flat.shape[1]), np.float32)
    factors = np.empty((num_classes, flat.shape[1], flat.shape[1]), np.float32)
    for k in range(num_classes):
        of_class = flat[labels == k]
        means[k] = of_class.mean(axis=0)
        covariance = np.cov(of_class, rowvar=False, dtype=np.float64) + _JITTER * np.eye(flat.shape[1])
        factors[k] = np.linalg.cholesky(covariance)
    means, factors = tf.constant(means), tf.constant(factors)

    def start(labels: Labels, seed: Seed) -> Images:
        labels = tf.cast(labels, tf.int32)
        noise = tf.random.stateless_normal([tf.shape(labels)[0], means.shape[1]], seed, alg="philox")

        def shaped(k: int) -> tf.Tensor:
            return means[k] + tf.linalg.matmul(noise, factors[k], transpose_b=True)

        # One product for each class, each over all rows: K (H W C)^2 multiplications a row, against gathering a
        # covariance for each row, which would move B (H W C)^2 floats.
        x = sum(tf.where((labels == k)[:, None], shaped(k), tf.zeros_like(noise)) for k in range(num_classes))
        return tf.clip_by_value(tf.reshape(x, [-1, *shape]), 0.0, 1.0)

    return start
