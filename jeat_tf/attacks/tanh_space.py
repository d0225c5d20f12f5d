"""Images as tanh(w) / 2 + 1 / 2, which stays in [0, 1], and Adam on w (Carlini & Wagner, 2017, sec. V-B)."""

from typing import NamedTuple

import tensorflow as tf

from jeat_tf.attacks.oracle import Rows
from jeat_tf.core.types import Images

_INSIDE = 1 - 1e-6  # keeps atanh finite at pixels of 0 and 1
_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8  # Adam's, as published


class Adam(NamedTuple):
    """Adam for each image by itself: Keras' optimizer has one state for a whole variable, and rows leave the batch."""

    mean: tf.Tensor
    square: tf.Tensor
    steps: tf.Tensor  # int32[B]

    @classmethod
    def new(cls, rows: Rows) -> "Adam":
        """Before the first step."""
        return cls(tf.zeros_like(rows.x), tf.zeros_like(rows.x), tf.zeros_like(rows.labels))

    def update(self, gradient: tf.Tensor, learning_rate: float) -> tuple["Adam", tf.Tensor]:
        """The state after a step, and the step."""
        steps = self.steps + 1
        mean = _BETA_1 * self.mean + (1 - _BETA_1) * gradient
        square = _BETA_2 * self.square + (1 - _BETA_2) * tf.square(gradient)
        count = tf.cast(steps, tf.float32)
        rate = learning_rate * tf.sqrt(1 - _BETA_2**count) / (1 - _BETA_1**count)
        return Adam(mean, square, steps), -each(rate) * mean / (tf.sqrt(square) + _TINY)

    def restarted(self, where: tf.Tensor) -> "Adam":
        """As new for the images where bool[B] is true."""
        keep = 1 - tf.cast(where, tf.float32)
        return Adam(each(keep) * self.mean, each(keep) * self.square, tf.where(where, 0, self.steps))


def image(w: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The image of w, and its derivative."""
    t = tf.tanh(w)
    return (t + 1) / 2, (1 - tf.square(t)) / 2


def inverse(x: Images) -> tf.Tensor:
    """The w whose image is x, to 1e-6 at pixels of 0 and 1."""
    return tf.atanh((2 * x - 1) * _INSIDE)


def each(per_image: tf.Tensor) -> tf.Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return per_image[:, None, None, None]
