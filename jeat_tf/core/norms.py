"""The geometry of balls around an image: where an attack may start, which way is up, how to come back inside."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.core.seeds import split
from jeat_tf.core.types import Images, Seed

_TINY = 1e-12  # keeps the gradient of a flat image from dividing by zero; far below any real norm


class Geometry(NamedTuple):
    """What a ball in [0, 1] pixel units does; `core.balls` has the balls themselves.

    Attributes:
      random_start: (x, seed) -> a uniformly drawn point of the ball around x.
      random_direction: (shape, seed) -> a random offset of length one, for a start on the ball's surface.
      ascent: gradient -> steepest-ascent direction of length one in the ball's norm.
      project: (x, center) -> the nearest point of the ball around center.
      distance: (x, center) -> float[B].
    """

    random_start: Callable[[Images, Seed], Images]
    random_direction: Callable[[Any, Seed], tf.Tensor]
    ascent: Callable[[tf.Tensor], tf.Tensor]
    project: Callable[[Images, Images], Images]
    distance: Callable[[Images, Images], tf.Tensor]


def linf(epsilon: float) -> Geometry:
    """The l-inf ball of radius epsilon."""

    def random_start(x: Images, seed: Seed) -> Images:
        return x + tf.random.stateless_uniform(tf.shape(x), seed, -epsilon, epsilon, alg="philox")

    def random_direction(shape: Any, seed: Seed) -> tf.Tensor:
        uniform = tf.random.stateless_uniform(shape, seed, -1.0, 1.0, alg="philox")
        return uniform / tf.maximum(tf.reduce_max(tf.abs(uniform), axis=(-3, -2, -1), keepdims=True), _TINY)

    return Geometry(
        random_start=random_start,
        random_direction=random_direction,
        ascent=tf.sign,
        project=lambda x, center: tf.clip_by_value(x, center - epsilon, center + epsilon),
        distance=lambda x, center: tf.reduce_max(tf.abs(x - center), axis=(1, 2, 3)),
    )


def l2(epsilon: float) -> Geometry:
    """The l2 ball of radius epsilon, the norm taken over all pixels of an image."""

    def random_direction(shape: Any, seed: Seed) -> tf.Tensor:
        return _unit(tf.random.stateless_normal(shape, seed, alg="philox"))

    def random_start(x: Images, seed: Seed) -> Images:
        direction_seed, radius_seed = split(seed)
        direction = random_direction(tf.shape(x), direction_seed)
        size = tf.cast(tf.reduce_prod(tf.shape(x)[1:]), tf.float32)
        uniform = tf.random.stateless_uniform([tf.shape(x)[0], 1, 1, 1], radius_seed, alg="philox")
        return x + epsilon * uniform ** (1.0 / size) * direction

    def project(x: Images, center: Images) -> Images:
        offset = x - center
        return center + offset * tf.minimum(1.0, epsilon / tf.maximum(_norm(offset), _TINY))

    return Geometry(
        random_start=random_start,
        random_direction=random_direction,
        ascent=_unit,
        project=project,
        distance=lambda x, center: _norm(x - center)[:, 0, 0, 0],
    )


def gaussian_start(x: Images, seed: Seed, *, std: float | tf.Tensor = 0.001) -> Images:
    """x + N(0, std^2), std in pixels, not clipped; by default where TRADES' attack begins, whatever the ball."""
    return x + std * tf.random.stateless_normal(tf.shape(x), seed, alg="philox")


def _norm(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=(-3, -2, -1), keepdims=True))


def _unit(x: tf.Tensor) -> tf.Tensor:
    return x / tf.maximum(_norm(x), _TINY)
