"""Seeds made from seeds.

Philox is named at every draw, so that seeds and integers are the same on every device and under XLA. XLA makes
floats from the same bits in its own way: a compiled chain has the same distribution, not the same noise.
"""

import tensorflow as tf

from jeat_tf.types import Seed


def fold_in(seed: Seed, data: int | tf.Tensor) -> Seed:
    """A new int32[2] seed for each integer `data`."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")


def split(seed: Seed, num: int = 2) -> list[Seed]:
    """`num` independent int32[2] seeds."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, num, alg="philox"))
