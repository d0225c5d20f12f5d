"""The objective of flows: likelihood."""

from typing import Any

import tensorflow as tf

from jeat_tf.core.energy import energy
from jeat_tf.core.types import Batch, LossOut, Perturb
from jeat_tf.methods.objective import Objective, classification_loss, mean_over_labelled


def likelihood(perturb: Perturb, *, class_weight: float = 0.0) -> Objective:
    """-log p(x | y) / (H W C) + c CE(x): for a net whose logits are log p(x | y), as a flow's are (`models.glow`).

    Args:
      perturb: dequantisation, without which a density on pixels grows without bound: `dequantized(256)`.
      class_weight: c; Glow's hybrid weight is 0.01.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        logits = net(batch.x_adv, training=True)
        classification = classification_loss(logits, batch.labels)
        size = tf.cast(tf.reduce_prod(tf.shape(batch.x_adv)[1:]), tf.float32)
        nats = mean_over_labelled(energy(logits, tf.maximum(batch.labels, 0)), batch.labels) / size
        terms = {"cross_entropy": classification, "nats": nats}
        return LossOut(nats + class_weight * classification, logits, terms)

    return Objective(loss, terms=("cross_entropy", "nats"), perturb=perturb)
