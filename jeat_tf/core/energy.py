"""Logits are energies: E(x, y) = -f(x)[y], E(x) = -logsumexp_k f(x)[k], CE(x, y) = E(x, y) - E(x)."""

import keras
import tensorflow as tf

from jeat_tf.core.logits import check_head, check_itself, check_output
from jeat_tf.core.types import Labels


def energy(logits: tf.Tensor, labels: Labels | None = None) -> tf.Tensor:
    """Energy float32[B] of each image: E(x), or E(x, y) when labels are given.

    E(x) = -log sum_k exp f(x)[k] and E(x, y) = -f(x)[y]; eq. 7 and 8 of JEAT (Zhu et al., 2021), after JEM
    (Grathwohl et al., 2020). Computed in float32 whatever the precision of the net.

    Args:
      logits: float[B, K].
      labels: int[B], or None for the marginal energy.
    """
    logits = tf.cast(logits, tf.float32)
    if labels is None:
        return -tf.reduce_logsumexp(logits, axis=-1)
    return -tf.gather(logits, tf.cast(labels, tf.int32), axis=-1, batch_dims=1)


def cross_entropy(logits: tf.Tensor, labels: Labels) -> tf.Tensor:
    """-log p(y | x), float32[B], as the difference of energies E(x, y) - E(x) (JEAT eq. 13)."""
    return energy(logits, labels) - energy(logits)


def kl_divergence(logits: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """KL(softmax(logits) || softmax(other)), float32[B] (TRADES, Zhang et al., 2019, eq. 5)."""
    log_p, log_q = (tf.nn.log_softmax(tf.cast(z, tf.float32)) for z in (logits, other))
    return tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=-1)


@keras.saving.register_keras_serializable("jeat_tf")
class JointEnergy(keras.layers.Layer):
    """Turns logits float[B, K] into the joint energies E(x, y) float32[B, K] of all K classes."""

    def __init__(self, *, dtype: str = "float32", **kwargs: object):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        return -keras.ops.cast(logits, "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)


@keras.saving.register_keras_serializable("jeat_tf")
class MarginalEnergy(keras.layers.Layer):
    """Turns logits float[B, K] into the marginal energy E(x) float32[B]."""

    def __init__(self, *, dtype: str = "float32", **kwargs: object):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, logits: tf.Tensor) -> tf.Tensor:
        return -keras.ops.logsumexp(keras.ops.cast(logits, "float32"), axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape[:-1])


def energy_model(net: keras.Model) -> keras.Model:
    """A plain Keras model over the same weights with outputs `logits`, `energy` and `joint_energy`.

    Args:
      net: functional or Sequential model, images float[B, H, W, C] in [0, 1] -> logits float[B, K].

    Returns:
      model: images -> {"logits": float[B, K], "energy": float32[B], "joint_energy": float32[B, K]}.

    Raises:
      ValueError: the net has several inputs or outputs, its output is not [B, K], or it ends in a softmax or sigmoid.
    """
    check_itself(net)
    if not getattr(net, "inputs", None):
        raise ValueError(
            f"expected a functional or Sequential net, received {type(net).__name__}, which is subclassed: its graph "
            "does not show its layers"
        )
    if len(net.inputs) != 1 or len(net.outputs) != 1:
        raise ValueError(
            "expected a net with one input and one output (images -> logits), "
            f"received {len(net.inputs)} inputs and {len(net.outputs)} outputs"
        )
    logits = net.outputs[0]
    check_output(logits)
    check_head(net)
    return keras.Model(
        net.inputs[0],
        {
            "logits": logits,
            "energy": MarginalEnergy(name="energy")(logits),
            "joint_energy": JointEnergy(name="joint_energy")(logits),
        },
        name=f"{net.name}_energy",
    )
