"""Seeds made from seeds.

Philox is named at every draw, so that seeds and integers are the same on every device and under XLA. XLA makes
floats from the same bits in its own way: a compiled chain has the same distribution, not the same noise.
"""

import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from jeat_tf.core.types import Seed


def as_seed(seed: Seed | int) -> Seed:
    """int32[2] of an int, or the seed itself.

    Raises:
      ValueError: it is neither.
    """
    if isinstance(seed, (int, np.integer)):
        return tf.constant([0, seed], tf.int32)
    given = tf.convert_to_tensor(seed)
    if not given.dtype.is_integer or not given.shape.is_compatible_with([2]):
        raise ValueError(f"expected a seed, an int or two of them, received {seed!r}")
    return given


def fold_in(seed: Seed, data: int | tf.Tensor) -> Seed:
    """A new int32[2] seed for each integer `data`."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")


def split(seed: Seed, num: int = 2) -> list[Seed]:
    """`num` independent int32[2] seeds."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, num, alg="philox"))


def per_image(seed: Seed, images: np.ndarray) -> np.ndarray:
    """int32[B, 2], a seed for each image from its content: the same in any batch, at any place.

    Args:
      seed: int32[2].
      images: float32[B, H, W, C]; equal images get equal seeds.
    """
    contents = np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)
    return np.asarray(seed, np.int32)[None] ^ np.stack([contents, np.zeros_like(contents)], axis=1).view(np.int32)


def draw_each(draw: Callable[[Seed], tf.Tensor], seeds: tf.Tensor) -> tf.Tensor:
    """float32[B, ...], one draw for each of int32[B, 2] seeds."""
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
