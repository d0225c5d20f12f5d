"""What an attack raises or a chain lowers: (logits_fn, labels) -> (images -> float32[B])."""

from typing import Any

import tensorflow as tf

from jeat_tf.core import energy as energies
from jeat_tf.core.logits import check_callable
from jeat_tf.core.types import Images, Labels, LogitsFn, LossFn, Surrogate


def cross_entropy(logits_fn: LogitsFn, labels: Labels) -> LossFn:
    """-log p(y | x) = E(x, y) - E(x): the usual attack (JEAT eq. 14) and its generation (eq. 16)."""
    return lambda x: energies.cross_entropy(logits_fn(x), labels)


def joint_energy(logits_fn: LogitsFn, labels: Labels) -> LossFn:
    """E(x, y) = -f(x)[y]: JEAT's attack (eq. 18) and its generation (eq. 17).

    Unlike the cross-entropy its gradient does not vanish when softmax saturates; it ignores the other
    classes, so near a decision boundary it is the weaker attack.
    """
    return lambda x: energies.energy(logits_fn(x), labels)


def marginal_energy(logits_fn: LogitsFn, labels: Labels | None = None) -> LossFn:
    """E(x) = -logsumexp f(x): what the chains of JEM and JEAT lower in training. Labels are not used."""
    del labels
    return lambda x: energies.energy(logits_fn(x))


def opposite(surrogate: Surrogate) -> Surrogate:
    """The surrogate times -1: an attack that raises it is a targeted one, towards the labels given."""

    def negative(logits_fn: LogitsFn, labels: Labels) -> LossFn:
        fn = surrogate(logits_fn, labels)
        return lambda x: -fn(x)

    return negative


def inference(net: Any) -> LogitsFn:
    """The net in inference mode: no dropout, stored batch statistics, and no change to them."""
    check_callable(net)

    def logits_fn(x: Images) -> tf.Tensor:
        return net(x, training=False)

    return logits_fn


def training(net: Any) -> LogitsFn:
    """The net in training mode: batch statistics of the images at hand, and they move the stored ones."""

    def logits_fn(x: Images) -> tf.Tensor:
        return net(x, training=True)

    return logits_fn
