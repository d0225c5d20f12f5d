"""Images from a classifier: a start, then stages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.checks import admit_labels, check_labels
from jeat_tf.core.logits import check_head, check_logits
from jeat_tf.core.seeds import as_seed, fold_in
from jeat_tf.core.types import Draw, Images, Labels, Seed, View
from jeat_tf.models.flow import Bijection
from jeat_tf.samplers.stages import Stage


def generate(
    net: Any,
    labels: Labels,
    *,
    start: Draw,
    stages: Sequence[Stage],
    seed: Seed | int = 0,
    view: View = inference,
) -> Images:
    """Images float32[B, H, W, C] for the labels: start, then each stage in turn.

    >>> start = ClassGaussians().layer((28, 28, 1), 10)
    >>> start.adapt(images, labels)
    >>> digits = generate(net, range(10), start=start, stages=[Stage(SGLD(steps=50))])

    Args:
      net: images -> logits.
      labels: int[B], the requested class of each image.
      start: (labels, seed) -> first images.
      stages: applied in order; each gets its own seed.
      seed: an int, or int32[2].
      view: how the net is called.

    Raises:
      ValueError: stages that the net cannot have (`check_rule`); in eager mode also labels that are not classes of the
        net, or a net that does not give logits.
    """
    check_rule(net, stages)
    seed = as_seed(seed)
    labels = labels if tf.is_tensor(labels) else tf.constant(np.asarray(labels))
    if tf.executing_eagerly():
        check_head(net)
        labels = tf.constant(admit_labels(labels))
    x = start(labels, fold_in(seed, 0))
    if tf.executing_eagerly():
        logits = view(net)(x)
        check_logits(logits, energies=True)
        check_labels(labels, logits.shape[-1])
    for i, stage in enumerate(stages, start=1):
        fn = stage.surrogate()(view(net), labels)
        x = stage.sampler(fn, x, seed=fold_in(seed, i))
    return x


def is_flow(net: Any) -> bool:
    """Whether the net is a flow, whose logits are log p(x | y)."""
    return any(isinstance(layer, Bijection) for layer in getattr(net, "layers", ()))


def check_rule(net: Any, stages: Sequence[Stage]) -> None:
    """Refuses a drawing rule that the net cannot have: JEAT eq. 16 for a flow.

    Eq. 16 lowers E(x, y) - E(x) = -log p(y | x), which leaves out the density that a flow was trained for.

    Raises:
      ValueError: the net is a flow, and a stage lowers E(x, y) - E(x).
    """
    if is_flow(net) and any(stage.energy == "cross_entropy" and stage.of_classes for stage in stages):
        raise ValueError(
            "expected a drawing rule of p(x given y) for a flow, received stages down E(x, y) - E(x) (JEAT eq. 16), "
            "which leaves out its density; take --recipe=exact, its exact samples, or energy=joint (eq. 17)"
        )
