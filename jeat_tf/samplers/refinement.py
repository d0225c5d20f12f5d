"""Classification after a few steps down the energy, as JEM evaluates itself, in a form that an attack sees through."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference, marginal_energy
from jeat_tf.core.types import Images, LogitsFn
from jeat_tf.samplers.sgld import sgld


def refine(
    net: Any,
    *,
    num_steps: int,
    step_size: float = 0.25,
    noise_std: float = 0.005,
    seed: int = 0,
) -> LogitsFn:
    """A classifier that moves its input down E(x) before it looks at it (sec. 5.4 of JEM, Grathwohl et al., 2020).

    Its gradient is the net's gradient at the refined image, as if the chain were the identity: backward pass
    differentiable approximation (Athalye et al., 2018, https://arxiv.org/abs/1802.00420). Its noise is new at every
    call: attack it through an `Oracle` of several samples.

    Args:
      net: images -> logits.
      num_steps: steps of the chain; 0 is the net itself.
      step_size: factor of the energy gradient, in pixels.
      noise_std: standard deviation of each step's noise, in pixels.
      seed: of the noise.

    Raises:
      ValueError: num_steps is negative.
    """
    if num_steps < 0:
        raise ValueError(f"expected num_steps >= 0, received {num_steps}")
    logits_fn = inference(net)
    seeds = keras.random.SeedGenerator(seed)
    energy_fn: Callable[[Images], tf.Tensor] = marginal_energy(logits_fn)

    def refined(x: Images) -> tf.Tensor:
        chain_seed = tf.bitcast(tf.cast(seeds.next(), tf.uint32), tf.int32)
        end = sgld(
            energy_fn,
            tf.stop_gradient(x),
            seed=chain_seed,
            step_size=step_size,
            noise_std=noise_std,
            num_steps=num_steps,
            bounds=(0.0, 1.0),
        )
        return logits_fn(x + tf.stop_gradient(end - x))

    return refined if num_steps else logits_fn
