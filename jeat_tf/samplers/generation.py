"""Images from a classifier: a start, then stages."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.checks import check_labels
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Attack, EnergyFn, Images, Labels, Sampler, Seed, Start, Surrogate, View


class Stage(NamedTuple):
    """One leg of generation: a sampler (or an attack) and the quantity it follows.

    `Stage(joint_energy, functools.partial(sgld, ...))` is JEAT eq. 17, `Stage(cross_entropy, ...)` eq. 16.
    """

    surrogate: Surrogate
    sampler: Sampler | Attack


def contrast(factor: float) -> Sampler:
    """A stage that brings images nearer to mid-grey, 1/2 + factor (x - 1/2), whatever the energy.

    Robust JEM reduces contrast between its targeted attack and its chain, so that the chain has room in pixel space.
    """

    def sampler(energy_fn: EnergyFn, x: Images, *, seed: Seed) -> Images:
        del energy_fn, seed
        return 0.5 + factor * (x - 0.5)

    return sampler


def generate(
    net: Any,
    labels: Labels,
    *,
    seed: Seed,
    start: Start,
    stages: Sequence[Stage],
    view: View = inference,
) -> Images:
    """Images float32[B, H, W, C] for the labels: start, then each stage in turn.

    Args:
      net: images -> logits.
      labels: int[B], the class asked for in each image.
      seed: int32[2].
      start: (labels, seed) -> first images.
      stages: applied in order; each gets its own seed.
      view: how the net is called.

    Raises:
      ValueError: labels that are not classes of the net; checked in eager mode alone.
    """
    if tf.executing_eagerly():
        outputs = getattr(net, "output_shape", None)  # a net that is a plain function does not say
        check_labels(labels, outputs[-1] if outputs else None)
    x = start(labels, fold_in(seed, 0))
    for i, stage in enumerate(stages, start=1):
        fn = stage.surrogate(view(net), labels)
        x = stage.sampler(fn, x, seed=fold_in(seed, i))
    return x
