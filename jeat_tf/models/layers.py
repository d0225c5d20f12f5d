"""Choices shared by the nets: normalisation, activation, bounded weights, and the two ends."""

import keras
import tensorflow as tf

from jeat_tf.models.nets import ACTIVATIONS, NORMS


# In a package of its own: the flow's ActNorm, which also gives log-determinants, is another layer.
@keras.saving.register_keras_serializable("jeat_tf.layers")
class ActNorm(keras.layers.Layer):
    """scale * x + bias for each channel, which the first training batch sets so that it gets mean 0 and variance 1.

    Actnorm, sec. 3.1 of Kingma & Dhariwal, 2018 (Glow), https://arxiv.org/abs/1807.03039, with scale at most 1000 (for
    channels that are constant). Afterwards both are plain weights: unlike batch statistics they do not couple images.
    Inference before the first training pass sees the identity; that pass may be a chain's, if it calls the net in
    training mode. Under `tf.distribute` the first replica decides.
    """

    def build(self, input_shape: tuple) -> None:
        # No autocast: under mixed_bfloat16 each assignment would round the weights.
        shared = {"autocast": False, "aggregation": "only_first_replica"}
        self.scale = self.add_weight(name="scale", shape=input_shape[-1:], initializer="ones", **shared)
        self.bias = self.add_weight(name="bias", shape=input_shape[-1:], initializer="zeros", **shared)
        # 0 or 1 as a float, so that every weight of a net can be averaged.
        self.initialized = self.add_weight(name="initialized", shape=(), initializer="zeros", trainable=False, **shared)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            scale, bias = keras.ops.cond(
                self.initialized.value > 0,
                lambda: (self.scale.value, self.bias.value),
                lambda: self._standardizing(x),
            )
            # Assigned outside the branches, where replicas can agree, and read again below, where gradients arrive.
            self.scale.assign(scale)
            self.bias.assign(bias)
            self.initialized.assign(1.0)
        return keras.ops.cast(self.scale, x.dtype) * x + keras.ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def _standardizing(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = keras.ops.cast(x, self.variable_dtype)
        mean, variance = keras.ops.moments(x, axes=list(range(len(x.shape) - 1)))
        scale = keras.ops.rsqrt(variance + 1e-6)
        return scale, -mean * scale


def normalize(x: keras.KerasTensor, norm: str, momentum: float = 0.9) -> keras.KerasTensor:
    """x through the normalisation of that name; "none" is JEM's choice (batch statistics couple images).

    `momentum` is the share of batch normalisation's running statistics that a pass in training mode keeps.

    Raises:
      ValueError: a name that is not in `NORMS`.
    """
    if norm == "none":
        return x
    if norm == "batch":
        return keras.layers.BatchNormalization(momentum=momentum, epsilon=1e-5)(x)  # PyTorch's epsilon
    if norm == "instance":
        return keras.layers.GroupNormalization(groups=-1)(x)
    if norm == "layer":
        return keras.layers.GroupNormalization(groups=1)(x)
    if norm == "act":
        return ActNorm()(x)
    raise ValueError(f'expected a norm of {NORMS}, received "{norm}"')


def activate(x: keras.KerasTensor, activation: str) -> keras.KerasTensor:
    """x through the activation of that name; leaky_relu has slope 0.2, as in JEM and IGEBM.

    Raises:
      ValueError: a name that is not in `ACTIVATIONS`.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f'expected an activation of {ACTIVATIONS}, received "{activation}"')
    if activation == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.layers.Activation(activation)(x)


def linear(x: keras.KerasTensor, layer: keras.Layer, spectral_norm: bool = False) -> keras.KerasTensor:
    """x through a convolution or dense layer; with `spectral_norm`, one whose kernel has largest singular value 1.

    Spectral normalisation (Miyato et al., 2018, https://arxiv.org/abs/1802.05957) of the kernel as a matrix [-1, out],
    by Keras' layer, under the name of the layer it wraps. It is a projection of the weights, not a function of them:
    each pass in training mode, before it multiplies, divides the kernel by an estimate of its largest singular value
    (one step of power iteration) and assigns the result. This has four consequences:

    - No gradient passes through the division.
    - Inference takes the kernel as it is; that of a new net is as it was drawn.
    - The value reaches 1 over tens of training passes, and each optimizer step moves it a little.
    - Weights that are moved by some amount for a training pass (AWP) do not return when that amount is subtracted.
    """
    if spectral_norm:
        # In the weights' precision: under mixed_bfloat16 each assignment would round the kernel.
        layer = keras.layers.SpectralNormalization(layer, name=layer.name, dtype=layer.variable_dtype)
    return layer(x)


def images_in(image_shape: tuple[int, int, int]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, images in [0, 1], and the same in [-1, 1]: the only normalisation, inside the net."""
    inputs = keras.Input(image_shape, name="images")
    return inputs, keras.layers.Rescaling(2.0, -1.0)(inputs)


def logits_out(x: keras.KerasTensor, num_classes: int, **kwargs: object) -> keras.KerasTensor:
    """Logits in float32 under any precision policy: energies are sums of their exponentials.

    Without spectral normalisation, as IGEBM's code has it: energies of norm one would be flat.
    """
    return keras.layers.Dense(num_classes, dtype="float32", name="logits", **kwargs)(x)
