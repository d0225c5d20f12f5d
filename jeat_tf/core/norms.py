"""The geometry of balls around an image: where an attack may start, which way is up, how to come back inside."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.core.l1 import inside_l1_ball, onto_l1_ball, sparse_signs, total
from jeat_tf.core.seeds import split
from jeat_tf.core.types import Images, Seed

_TINY = 1e-12  # keeps the gradient of a flat image from dividing by zero; far below any real norm
_ROUNDING = 1e-6  # l1: share of the radius that is left to the rounding of a sum over all pixels
_SLIDE_SHARE = 0.01  # of the pixels: those that a step in l1 moves


class Geometry(NamedTuple):
    """What a ball in [0, 1] pixel units does; `core.balls` has the balls themselves.

    Attributes:
      random_start: (x, seed) -> a uniformly drawn point of the ball around x.
      random_direction: (shape, seed) -> a random offset of length one, for a start on the ball's surface.
      ascent: (gradient, x or None) -> direction of length one in the ball's norm.
      project: (x, center) -> the nearest point of the ball around center.
      inside: (x, center) -> a point of the ball around center, in [0, 1].
      distance: (x, center) -> float[B].
    """

    random_start: Callable[[Images, Seed], Images]
    random_direction: Callable[[Any, Seed], tf.Tensor]
    ascent: Callable[[tf.Tensor, Images | None], tf.Tensor]
    project: Callable[[Images, Images], Images]
    inside: Callable[[Images, Images], Images]
    distance: Callable[[Images, Images], tf.Tensor]


def linf(epsilon: float) -> Geometry:
    """The l-inf ball of radius epsilon."""

    def random_start(x: Images, seed: Seed) -> Images:
        return x + tf.random.stateless_uniform(tf.shape(x), seed, -epsilon, epsilon, alg="philox")

    def random_direction(shape: Any, seed: Seed) -> tf.Tensor:
        uniform = tf.random.stateless_uniform(shape, seed, -1.0, 1.0, alg="philox")
        return uniform / tf.maximum(tf.reduce_max(tf.abs(uniform), axis=(-3, -2, -1), keepdims=True), _TINY)

    def project(x: Images, center: Images) -> Images:
        return tf.clip_by_value(x, center - epsilon, center + epsilon)

    return Geometry(
        random_start=random_start,
        random_direction=random_direction,
        ascent=lambda gradient, x: tf.sign(gradient),
        project=project,
        inside=lambda x, center: tf.clip_by_value(project(x, center), 0.0, 1.0),
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
        ascent=lambda gradient, x: _unit(gradient),
        project=project,
        inside=lambda x, center: tf.clip_by_value(project(x, center), 0.0, 1.0),
        distance=lambda x, center: _norm(x - center)[:, 0, 0, 0],
    )


def l1(epsilon: float) -> Geometry:
    """The l1 ball of radius epsilon. `ascent` moves few pixels by the same length (SLIDE, Tramer & Boneh, 2019)."""
    radius = epsilon * (1 - _ROUNDING)

    def random_direction(shape: Any, seed: Seed) -> tf.Tensor:
        normal = tf.random.stateless_normal(shape, seed, alg="philox")
        return normal / tf.maximum(total(tf.abs(normal)), _TINY)

    def random_start(x: Images, seed: Seed) -> Images:
        # Exponentials over their sum and that of one more fill the simplex evenly.
        sign_seed, size_seed, rest_seed = split(seed, 3)
        sizes = -tf.math.log1p(-tf.random.stateless_uniform(tf.shape(x), size_seed, alg="philox"))
        rest = -tf.math.log1p(-tf.random.stateless_uniform([tf.shape(x)[0], 1, 1, 1], rest_seed, alg="philox"))
        signs = tf.sign(tf.random.stateless_uniform(tf.shape(x), sign_seed, -1.0, 1.0, alg="philox"))
        return x + radius * signs * sizes / tf.maximum(total(sizes) + rest, _TINY)

    def ascent(gradient: tf.Tensor, x: Images | None) -> tf.Tensor:
        if x is not None:
            stuck = ((x >= 1) & (gradient > 0)) | ((x <= 0) & (gradient < 0))
            gradient *= 1.0 - tf.cast(stuck, tf.float32)
        pixels = tf.cast(tf.reduce_prod(tf.shape(gradient)[1:]), tf.float32)
        count = tf.maximum(tf.cast(tf.round(_SLIDE_SHARE * pixels), tf.int32), 1)
        return sparse_signs(gradient, tf.fill([tf.shape(gradient)[0]], count))

    return Geometry(
        random_start=random_start,
        random_direction=random_direction,
        ascent=ascent,
        project=lambda x, center: center + onto_l1_ball(x - center, radius, tf.fill(tf.shape(x), float("inf"))),
        inside=lambda x, center: inside_l1_ball(x, center, radius),
        distance=lambda x, center: tf.reduce_sum(tf.abs(x - center), axis=(1, 2, 3)),
    )


def gaussian_start(x: Images, seed: Seed, *, std: float | tf.Tensor = 0.001) -> Images:
    """x + N(0, std^2), std in pixels, not clipped; by default where TRADES' attack begins, whatever the ball."""
    return x + std * tf.random.stateless_normal(tf.shape(x), seed, alg="philox")


def _norm(x: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=(-3, -2, -1), keepdims=True))


def _unit(x: tf.Tensor) -> tf.Tensor:
    return x / tf.maximum(_norm(x), _TINY)
