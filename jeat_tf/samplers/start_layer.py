"""Starts as Keras layers: what they learn from data is saved with the weights of whatever holds them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit, admit_images, check_labels
from jeat_tf.core.seeds import as_seed, split
from jeat_tf.core.types import Images, Labels, Seed
from jeat_tf.samplers.class_statistics import ClassStatistics
from jeat_tf.samplers.starts import ClassComponents, ClassGaussians, Gaussian, Mixture, Start


class StartLayer(keras.layers.Layer):
    """(labels, seed) -> images float32[B, H, W, C] in [0, 1].

    Attributes:
      start: the value that describes it.
      image_shape: (H, W, C).
      num_classes: K.
    """

    def __init__(self, start: Start, image_shape: tuple[int, int, int], num_classes: int):
        super().__init__(name="start", dtype="float32", trainable=False)
        self.start, self.image_shape, self.num_classes = start, tuple(image_shape), num_classes
        self.means: Any = None
        self.factors: Any = None
        self.stds: Any = None
        self.is_adapted: Any = None
        if start.learns:
            size = int(np.prod(image_shape))
            rank = start.rank_for(size)
            self.means = self._state("means", (num_classes, size))
            self.factors = self._state("factors", (num_classes, size, rank or size))
            self.stds = None if rank is None else self._state("stds", (num_classes, size))
            self.is_adapted = self.add_weight(
                name="adapted", shape=(), dtype="bool", initializer="zeros", trainable=False
            )
        self.built = True

    @property
    def adapted(self) -> bool:
        """Whether it can draw: it learns nothing from data, or has learnt it."""
        return self.is_adapted is None or bool(keras.ops.convert_to_numpy(self.is_adapted))

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Learns from training images what the start needs; nothing where it needs nothing.

        Args:
          images: float32[N, H, W, C] in [0, 1].
          labels: int[N].

        Raises:
          ValueError: invalid images or labels, or a class of fewer than two images.
        """
        if self.is_adapted is None:
            return
        found = self.start.statistics(images, labels, self.num_classes)
        missing = self.factors.shape[-1] - found.factors.shape[-1]
        self.means.assign(found.means)
        self.factors.assign(np.pad(found.factors, [(0, 0), (0, 0), (0, missing)]))
        if self.stds is not None:
            self.stds.assign(found.stds)
        self.is_adapted.assign(True)

    def __call__(self, labels: Labels, seed: Seed | int) -> Images:
        """Draws an image for each label int[B]; labels are checked in eager mode, where the start goes by them.

        Raises:
          ValueError: not adapted, or labels that are not classes.
        """
        seed = as_seed(seed)
        if tf.executing_eagerly():
            if self.start.of_classes:
                check_labels(labels, self.num_classes)
            if not self.adapted:
                raise ValueError(
                    f"expected a start that has seen data, received {self.start!r} which has not; call "
                    "adapt(images, labels) first"
                )
        return _draw_of(self)(tf.cast(labels, tf.int32), seed)

    def _state(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)


def _draw_of(layer: StartLayer) -> Callable[[Labels, Seed], Images]:
    start, shape = layer.start, layer.image_shape
    if isinstance(start, (ClassGaussians, ClassComponents)):
        statistics = ClassStatistics(
            layer.means.value, layer.factors.value, None if layer.stds is None else layer.stds.value, shape
        )
        return mixture(statistics) if isinstance(start, Mixture) else class_gaussians(statistics)
    if isinstance(start, Gaussian):
        return gaussian(shape, mean=start.mean, std=start.std)
    return uniform(shape)


def uniform(image_shape: tuple[int, ...]) -> Callable[[Labels, Seed], Images]:
    """Uniform noise over the pixel range, whatever the label."""

    def draw(labels: Labels, seed: Seed) -> Images:
        return tf.random.stateless_uniform([tf.shape(labels)[0], *image_shape], seed, 0.0, 1.0, alg="philox")

    return draw


def gaussian(image_shape: tuple[int, ...], *, mean: float = 0.5, std: float = 0.25) -> Callable[[Labels, Seed], Images]:
    """Gaussian noise about mid-grey, clipped to [0, 1], whatever the label."""

    def draw(labels: Labels, seed: Seed) -> Images:
        shape = [tf.shape(labels)[0], *image_shape]
        return tf.clip_by_value(tf.random.stateless_normal(shape, seed, mean, std, alg="philox"), 0.0, 1.0)

    return draw


def class_gaussians(statistics: ClassStatistics) -> Callable[[Labels, Seed], Images]:
    """mean + factor @ N(0, I) (+ std * N(0, I)) of the label's class, clipped to [0, 1].

    Args:
      statistics: `class_statistics(images, labels, num_classes)` or `class_components(...)`, as arrays or tensors.
    """
    means, factors, stds, image_shape = statistics
    has_stds = stds is not None and stds.shape[0] > 0  # an empty array where the factors say it all
    num_classes, _, rank = factors.shape
    image_shape = [int(side) for side in image_shape]

    def draw(labels: Labels, seed: Seed) -> Images:
        noise = tf.random.stateless_normal([tf.shape(labels)[0], rank], seed, alg="philox")

        def shaped(k: int) -> tf.Tensor:
            return means[k] + tf.linalg.matmul(noise, factors[k], transpose_b=True)

        # One product for each class, each over all rows: K D R multiplications a row, against gathering a
        # factor for each row, which would move B D R floats.
        x = sum(tf.where((labels == k)[:, None], shaped(k), 0.0) for k in range(num_classes))
        if has_stds:
            own = tf.random.stateless_normal(tf.shape(x), split(seed)[1], alg="philox")
            x += tf.gather(stds, labels) * own
        return tf.clip_by_value(tf.reshape(x, [-1, *image_shape]), 0.0, 1.0)

    return draw


def mixture(statistics: ClassStatistics) -> Callable[[Labels, Seed], Images]:
    """A draw from the equal mixture of all classes' Gaussians, whatever the label, clipped to [0, 1]."""
    of_class = class_gaussians(statistics)

    def draw(labels: Labels, seed: Seed) -> Images:
        which, where = split(seed)
        num_classes = tf.shape(statistics.means)[0]
        drawn = tf.random.stateless_uniform(tf.shape(labels), which, 0, num_classes, tf.int32, alg="philox")
        return of_class(drawn, where)

    return draw


class Given(keras.layers.Layer):
    """Draws from given images, such as those of a replay buffer, by seed and with replacement."""

    def __init__(self, images: np.ndarray, classes: np.ndarray | None = None):
        """
        Args:
          images: float32[N, H, W, C] in [0, 1].
          classes: int[N], to draw an image of the label's class; every class that is requested must be among them.
            None: any image, whatever the label.

        Raises:
          ValueError: invalid images or classes, or not a class for each.
        """
        super().__init__(name="given", dtype="float32", trainable=False)
        images = admit_images(images)
        if classes is not None:
            images, classes = admit(images, classes)
        self.images, self.classes = tf.constant(images), classes
        self.built = True

    def __call__(self, labels: Labels, seed: Seed | int) -> Images:
        """An image float32[H, W, C] for each label.

        Raises:
          ValueError: labels that are not among the classes; in eager mode alone.
        """
        if self.classes is not None and tf.executing_eagerly():
            check_labels(labels)
            if missing := np.setdiff1d(labels, self.classes).tolist():
                raise ValueError(f"expected labels among the classes of the images, received {missing}")
        shape = [tf.shape(labels)[0], len(self.images)]
        order = tf.random.stateless_uniform(shape, as_seed(seed), alg="philox")
        if self.classes is not None:
            fits = tf.cast(labels, tf.int64)[:, None] == tf.constant(self.classes, tf.int64)[None]
            order = tf.where(fits, order, -1.0)
        return tf.gather(self.images, tf.argmax(order, axis=1))
