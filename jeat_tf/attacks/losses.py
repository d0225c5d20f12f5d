"""What a search raises: (logits float32[B, K], labels int[B], targets int[B]) -> float32[B].

Losses of the untargeted kind ignore the targets.
"""

import tensorflow as tf

from jeat_tf.core import energy as energies
from jeat_tf.core.types import Labels

_TINY = 1e-12  # keeps a quotient of equal logits finite


def cross_entropy(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """-log p(y | x). Its gradient vanishes where softmax saturates."""
    del targets
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def joint_energy(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """E(x, y) = -f(x)[y]: JEAT's attack (eq. 18)."""
    del targets
    return energies.energy(logits, labels)


def margin(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """Largest other logit minus that of the label (Carlini & Wagner, 2017): above 0 where misclassified."""
    del targets
    return tf.reduce_max(_without(logits, labels), axis=-1) - _at(logits, labels)


def dlr(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """Difference of logits ratio (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690, eq. 6).

    The margin over the distance between the largest and the third largest logit, so that scaling the logits changes
    nothing. Of two classes there is no third: there it is the margin, whose direction does not depend on scale either.
    """
    value = margin(logits, labels, targets)
    if logits.shape[-1] < 3:
        return value
    top = tf.math.top_k(logits, 3).values
    return value / (top[:, 0] - top[:, 2] + _TINY)


def targeted_cross_entropy(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """log p(target | x)."""
    del labels
    return -tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)


def targeted_energy(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """-E(x, target) = f(x)[target]."""
    del labels
    return -energies.energy(logits, targets)


def targeted_margin(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """Logit of the target minus that of the label."""
    return _at(logits, targets) - _at(logits, labels)


def target_lead(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """Logit of the target minus the largest other: above 0 where the target is predicted (Carlini & Wagner, 2017)."""
    return -margin(logits, targets, labels)


def targeted_dlr(logits: tf.Tensor, labels: Labels, targets: Labels) -> tf.Tensor:
    """Targeted difference of logits ratio (Croce & Hein, 2020, eq. 7).

    Divided by z_(1) - (z_(3) + z_(4)) / 2; by z_(1) - z_(3) for three classes; the margin alone for two.
    """
    value = targeted_margin(logits, labels, targets)
    classes = logits.shape[-1]
    if classes < 3:
        return value
    top = tf.math.top_k(logits, min(classes, 4)).values
    return value / (top[:, 0] - tf.reduce_mean(top[:, 2:], axis=-1) + _TINY)


def _at(logits: tf.Tensor, classes: Labels) -> tf.Tensor:
    return tf.gather(logits, classes, axis=-1, batch_dims=1)


def _without(logits: tf.Tensor, labels: Labels) -> tf.Tensor:
    """The logits with that of the label below all others."""
    return tf.where(tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False), logits.dtype.min, logits)
