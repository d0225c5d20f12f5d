"""How the weights move, given an objective."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.methods.objective import Objective
from jeat_tf.types import Images, Labels, LossOut, Seed

Update = Callable[[Any, Objective, keras.optimizers.Optimizer, Images, Labels, Seed], LossOut]
"""(net, objective, optimizer, x, labels, seed) -> LossOut with the term `gradient_norm` added."""


def descend(
    net: Any,
    objective: Objective,
    optimizer: keras.optimizers.Optimizer,
    x: Images,
    labels: Labels,
    seed: Seed,
) -> LossOut:
    """One optimizer step down the objective (plus the net's own regularisation losses).

    Returns:
      out: the objective's LossOut; its terms also hold `gradient_norm`, the global l2 norm of the gradient
        before any clipping by the optimizer.
    """
    batch = objective.prepare(net, x, labels, seed)
    variables = net.trainable_variables
    with tf.GradientTape() as tape:
        out = objective.loss(net, batch)
        loss = out.loss + tf.add_n(net.losses) if net.losses else out.loss
        scaled = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, variables)
    optimizer.apply(gradients, variables)
    return out._replace(loss=loss, terms=out.terms | {"gradient_norm": tf.linalg.global_norm(gradients)})
