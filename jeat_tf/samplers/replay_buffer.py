"""The persistent chains of contrastive training."""

import math

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import check_memory
from jeat_tf.core.replicas import this_replica
from jeat_tf.core.types import Images, Labels, Seed
from jeat_tf.samplers.starts import Start


class ReplayBuffer(keras.layers.Layer):
    """A store of past samples from which chains resume (Du & Mordatch, 2019; JEM; JEAT Algorithm 1).

    A layer, so that a model that holds it as a direct attribute saves and restores it with its weights. Slot i belongs
    to class i mod K: classes are balanced, and class-conditional chains keep their class.

    Attributes:
      images: float32[size, H, W, C], non-trainable.
      age: int32[size], rounds of the chain since the slot was last started afresh.
    """

    def __init__(
        self,
        size: int,
        start: Start,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        seed: int = 0,
    ):
        """Fills all slots from `start`, at once where it learns nothing from data, else by `adapt`.

        Args:
          size: number of slots.
          start: where chains begin, e.g. `Uniform()`.
          image_shape: (H, W, C).
          num_classes: K.
          seed: of the first fill.

        Raises:
          ValueError: so many images are larger than this machine's memory.
        """
        check_memory(4 * size * math.prod(image_shape), f"a replay buffer of {size:,} images", "a smaller buffer_size")
        super().__init__(name="replay_buffer", dtype="float32", trainable=False)
        self.size = size
        self.num_classes = num_classes
        self.seed = seed
        self.start = start.layer(image_shape, num_classes)
        self.images = self.add_weight(name="images", shape=(size, *image_shape), initializer="zeros", trainable=False)
        self.age = self.add_weight(name="age", shape=(size,), dtype="int32", initializer="zeros", trainable=False)
        self.built = True
        if self.start.adapted:
            self._fill()

    def adapt(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Lets the start learn from training images, and fills all slots from it.

        Args:
          images: float32[N, H, W, C] in [0, 1].
          labels: int[N].
        """
        self.start.adapt(images, labels)
        self._fill()

    def _fill(self) -> None:
        self.images.assign(self.start(self.labels(tf.range(self.size)), tf.constant([self.seed, 1])))

    def labels(self, slots: tf.Tensor) -> Labels:
        """int32[B], the classes of the slots."""
        return slots % self.num_classes

    def draw(self, count: int | tf.Tensor, seed: Seed) -> tuple[Images, tf.Tensor, Labels]:
        """`count` different slots: images float32[count, H, W, C], indices int32[count], classes int32[count].

        Each of several replicas draws from its own part of the slots.

        Raises:
          ValueError: count is known when this is traced, and there are fewer slots; InvalidArgumentError, with the same
            words, where it is known only when it runs.
        """
        first, size = this_replica().rows(self.size, "a buffer_size")
        known = tf.get_static_value(count)
        message = f"expected at most as many chains as the replay buffer has slots, {size}; make it larger"
        if known is None:
            with tf.control_dependencies([tf.debugging.assert_less_equal(count, size, message)]):
                count = tf.identity(count)
        elif known > size:
            raise ValueError(f"{message}, received {known}")
        order = tf.random.stateless_uniform([size], seed, alg="philox")
        slots = first + tf.math.top_k(order, k=count).indices
        return tf.gather(self.images.value, slots), slots, self.labels(slots)

    def write(self, slots: tf.Tensor, x: Images, restarted: tf.Tensor) -> None:
        """Puts chains back after one round.

        Args:
          slots: int32[B], all different, from `draw`.
          x: float32[B, H, W, C].
          restarted: bool[B], chains that began afresh in this round.
        """
        age = tf.where(restarted, 1, tf.gather(self.age.value, slots) + 1)
        # By `assign`, which also works for the replicas' own copies under tf.distribute.
        self.images.assign(tf.tensor_scatter_nd_update(self.images.value, slots[:, None], x))
        self.age.assign(tf.tensor_scatter_nd_update(self.age.value, slots[:, None], age))
