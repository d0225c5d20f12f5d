"""A net as a SavedModel that needs nothing of this library: classify, energy, sample."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.energy import energy
from jeat_tf.core.seeds import fold_in
from jeat_tf.samplers.generation import is_flow
from jeat_tf.samplers.stages import RECIPES, Stage
from jeat_tf.samplers.values import Chain
from jeat_tf.samplers.walks import run


class Signatures(tf.Module):
    """The functions of a SavedModel.

    Attributes:
      functions: name -> function. `classify`: images float32[B, H, W, C] in [0, 1] -> logits float32[B, K] and
        probabilities. `energy`: images -> energy float32[B] and joint_energy float32[B, K]. `sample`: labels int32[B],
        seed int32[], steps int32[] -> images from uniform noise; not of a flow.
      chain: the stage that `sample` runs; None without.
    """

    def __init__(self, net: keras.Model, stages: Sequence[Stage]):
        """
        Args:
          net: images -> logits [B, K], of a fixed image size.
          stages: how the net's method draws; the first one that is a chain is used, else one of normalised steps.
        """
        super().__init__(name="signatures")
        self.net = net
        chains = [stage for stage in (*stages, *RECIPES["normalized"].stages) if isinstance(stage.sampler, Chain)]
        self.chain = None if is_flow(net) else chains[0]
        images = tf.TensorSpec(net.input_shape, tf.float32, name="images")
        self.functions: dict[str, Callable[..., Any]] = {
            "classify": tf.function(self._classify, input_signature=[images], autograph=False),
            "energy": tf.function(self._energy, input_signature=[images], autograph=False),
        }
        if self.chain is not None:
            scalars = [tf.TensorSpec([], tf.int32, name=name) for name in ("seed", "steps")]
            asked = [tf.TensorSpec([None], tf.int32, name="labels"), *scalars]
            self.functions["sample"] = tf.function(self._sample, input_signature=asked, autograph=False)

    def _classify(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(self.net(images, training=False), tf.float32)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    def _energy(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self.net(images, training=False)
        return {"energy": energy(logits), "joint_energy": -tf.cast(logits, tf.float32)}

    def _sample(self, labels: tf.Tensor, seed: tf.Tensor, steps: tf.Tensor) -> dict[str, tf.Tensor]:
        assert self.chain is not None
        assert isinstance(self.chain.sampler, Chain)
        classes = self.net.output_shape[-1]
        inside = tf.debugging.assert_less(labels, classes, f"expected labels in 0..{classes - 1}")
        with tf.control_dependencies([inside, tf.debugging.assert_non_negative(labels, "expected labels from 0 on")]):
            key = tf.stack([seed, 0])
            shape = tf.concat([tf.shape(labels), self.net.input_shape[1:]], 0)
            x = tf.random.stateless_uniform(shape, fold_in(key, 0), alg="philox")
            energy_fn = self.chain.surrogate()(inference(self.net), labels)
            return {"images": run(self.chain.sampler.walk(), energy_fn, x, seed=fold_in(key, 1), num_steps=steps)}
