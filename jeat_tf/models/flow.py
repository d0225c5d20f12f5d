"""What every normalising flow here is made of: a classifier whose energies are normalised.

An invertible map z = g(x), shared by the classes, takes images to Gaussians, one for each class:

    logits[k] = log p(x | y=k) = log N(z; mean_k, std_k) + log |det dz/dx|

in nats and with respect to pixels in [0, 1]. So E(x, y) = -log p(x | y), p(y | x) = softmax(logits) for equally
frequent classes, and E(x) = -log p(x) - log K. The density is of all of R^(H W C), so that a chain which leaves [0, 1]
keeps a finite energy; a trained flow has nearly all of its mass inside. `models.glow` and `models.residual_flow` have
the map.

The layers are Keras' own because TensorFlow Probability's bijectors are `tf.Module`s: a Keras 3 model that calls
ScaleMatvecLU sees none of its weights and cannot save it, and RealNVP sees none of the weights of a Keras 3 net. Its
Glow has coupling nets of Keras 2, and so needs tf-keras.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.core.seeds import split
from jeat_tf.core.types import Draw, Images, Labels, Seed

# Scales of couplings and splits stay within exp(-2)..exp(2), and are 1 at first; Glow's sigmoid(s + 2) only shrinks.
_MAX_LOG_SCALE = 2.0
_MIN_STD = 1e-3  # in ActNorm's initialisation: a channel that is constant in the batch is not blown up


def initialize_flow(net: keras.Model, images: Images) -> None:
    """Sets each ActNorm so that its outputs have mean 0 and variance 1 on these images (Glow, sec. 3.1).

    Args:
      net: a flow, not trained yet.
      images: float32[B, H, W, C], dequantised as in training; some hundred.

    Raises:
      ValueError: not such a net.
    """
    x = tf.convert_to_tensor(images)
    for step in chain_of(net)[0]:
        if isinstance(step, ActNorm):
            step.initialize(x)
        x, _ = step(x)
        x = x[0] if isinstance(step, Split) else x


def flow_samples(net: keras.Model, temperature: float = 1.0) -> Draw:
    """Exact samples of p(x | y), by the inverse pass; clipped to [0, 1].

    Args:
      net: a flow, trained or loaded; samples follow its weights as they are when drawn.
      temperature: factor on the standard deviation of all latents, 1 for the density itself (Glow, sec. 6).

    Raises:
      ValueError: not such a net.
    """
    _, base = chain_of(net)

    def start(labels: Labels, seed: Seed) -> Images:
        latents = base.sample(labels, seed, temperature)
        return tf.clip_by_value(decode(net, latents), 0.0, 1.0)

    return start


def encode(net: keras.Model, images: Images) -> list[tf.Tensor]:
    """The latents of images: the noise of each split, float32[B, h, w, c], and last the classes' latent.

    Raises:
      ValueError: not a flow.
    """
    x, latents = tf.convert_to_tensor(images), []
    for step in chain_of(net)[0]:
        x, _ = step(x)
        if isinstance(step, Split):
            x, noise = x
            latents.append(noise)
    return [*latents, x]


def decode(net: keras.Model, latents: list[tf.Tensor]) -> Images:
    """The images of latents, not clipped: the inverse of `encode`.

    Raises:
      ValueError: not a flow.
    """
    *noises, x = latents
    for step in reversed(chain_of(net)[0]):
        x = step.inverse((x, noises.pop()) if isinstance(step, Split) else x)
    return x


def bits_per_dimension(log_p: tf.Tensor, image_shape: tuple[int, int, int], *, bin_width: float = 1 / 256) -> tf.Tensor:
    """Bits that a pixel of a quantised image costs, like log_p: -log2 p(x) / (H W C) - log2(bin_width).

    The mean over uniform noise that spreads a value over its bin is an upper bound of -log2 of the image's probability
    (Theis et al., 2016, sec. 3.1, https://arxiv.org/abs/1511.01844).

    Args:
      log_p: log p(x) in nats with respect to pixels in [0, 1], of dequantised images.
      image_shape: (H, W, C).
      bin_width: of the dequantisation, in pixels. For n values k / (n - 1) it is 1 / n with x = (k + u) / n, and
        1 / (n - 1) with x = (k + u - 1/2) / (n - 1), u uniform in [0, 1); n is 256 for 8 bits, 17 for digits. The
        second keeps the images themselves in the middle of what the flow was trained on.
    """
    return -log_p / (math.prod(image_shape) * math.log(2.0)) - math.log2(bin_width)


def chain_of(net: keras.Model) -> tuple[list["Bijection"], "ClassGaussians"]:
    """The invertible layers of a net, first to last, and its base; they form a chain, which `layers` keeps in order.

    Raises:
      ValueError: not a flow of this library.
    """
    layers = getattr(net, "layers", [])
    steps = [layer for layer in layers if isinstance(layer, Bijection)]
    if not steps or not isinstance(layers[-1], ClassGaussians):
        raise ValueError(
            "expected a flow as `glow` or `residual_flow` makes it, "
            f"received {type(net).__name__} {getattr(net, 'name', '')}"
        )
    return steps, layers[-1]


class Bijection(keras.layers.Layer):
    """An invertible layer: call(x) -> (y, log |det dy/dx| float32[B]) and inverse(y) -> x.

    Keras' policy reaches the convolutions inside alone: all else, with sums of thousands of terms, is float32.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)


@keras.saving.register_keras_serializable("jeat_tf")
class Center(Bijection):
    """Pixels from [0, 1] to [-1, 1]."""

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return 2.0 * x - 1.0, per_image(math.prod(x.shape[1:]) * math.log(2.0), x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        return (y + 1.0) / 2.0


@keras.saving.register_keras_serializable("jeat_tf")
class Squeeze(Bijection):
    """Blocks of 2x2 pixels to channels: [B, H, W, C] -> [B, H/2, W/2, 4 C]."""

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.nn.space_to_depth(x, 2), per_image(0.0, x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(y, 2)


@keras.saving.register_keras_serializable("jeat_tf")
class ActNorm(Bijection):
    """Scale and bias of each channel, (x + bias) exp(log_scale), which `initialize` sets from data (Glow, sec. 3.1)."""

    def build(self, input_shape: tuple) -> None:
        zeros = {"shape": input_shape[-1:], "initializer": "zeros", "autocast": False}
        self.bias = self.add_weight(name="bias", **zeros)
        self.log_scale = self.add_weight(name="log_scale", **zeros)

    def initialize(self, x: tf.Tensor) -> None:
        """Gives each channel of the outputs for x mean 0 and variance 1."""
        mean, variance = tf.nn.moments(x, axes=[0, 1, 2])
        self.bias.assign(-mean)
        self.log_scale.assign(-tf.math.log(tf.maximum(tf.sqrt(variance), _MIN_STD)))

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        log_det = x.shape[1] * x.shape[2] * tf.reduce_sum(self.log_scale)
        return (x + self.bias) * tf.exp(self.log_scale), per_image(log_det, x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        return y * tf.exp(-self.log_scale) - self.bias


@keras.saving.register_keras_serializable("jeat_tf")
class Split(Bijection):
    """Keeps half of the channels; the other half, standardised by a learned Gaussian of the first, is noise.

    call(x) -> ((kept, noise), log_det), and inverse((kept, noise)) -> x (Glow, sec. 3.3, after RealNVP sec. 3.6).
    """

    def build(self, input_shape: tuple) -> None:
        half = input_shape[-1] // 2
        self.convolution = zero_convolution(2 * half, self.dtype_policy)
        self.convolution.build((*input_shape[:-1], half))

    def call(self, x: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
        kept, rest = tf.split(x, 2, axis=-1)
        log_std, mean = bounded(self.convolution(kept))
        return (kept, (rest - mean) * tf.exp(-log_std)), -tf.reduce_sum(log_std, axis=[1, 2, 3])

    def inverse(self, y: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        kept, noise = y
        log_std, mean = bounded(self.convolution(kept))
        return tf.concat([kept, noise * tf.exp(log_std) + mean], axis=-1)


@keras.saving.register_keras_serializable("jeat_tf")
class ClassGaussians(keras.layers.Layer):
    """The base of a flow: its last latent is a diagonal Gaussian of each class, the others are standard normal.

    call(latents, log_dets) -> log p(x | y) float32[B, K], from latents float[B, h, w, c] and log_dets float[B].
    """

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.num_classes = num_classes

    def build(self, latents_shape: list[tuple], log_dets_shape: list[tuple]) -> None:
        self.latent_shapes = [tuple(shape[1:]) for shape in latents_shape]
        shape = (self.num_classes, math.prod(self.latent_shapes[-1]))
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", autocast=False)
        self.log_std = self.add_weight(name="log_std", shape=shape, initializer="zeros", autocast=False)

    def call(self, latents: list[tf.Tensor], log_dets: list[tf.Tensor]) -> tf.Tensor:
        *noises, z = latents
        z = tf.reshape(z, [-1, 1, self.mean.shape[1]])
        of_class = _log_normal((z - self.mean) * tf.exp(-self.log_std)) - tf.reduce_sum(self.log_std, axis=-1)
        shared = [_log_normal(tf.reshape(noise, [-1, math.prod(noise.shape[1:])])) for noise in noises]
        return of_class + tf.add_n([*shared, *log_dets])[:, None]

    def sample(self, labels: Labels, seed: Seed, temperature: float) -> list[tf.Tensor]:
        """Latents of images of these classes, with their standard deviations times temperature."""
        seeds = split(seed, len(self.latent_shapes))
        noises = [
            temperature * tf.random.stateless_normal([tf.shape(labels)[0], *shape], s, alg="philox")
            for s, shape in zip(seeds, self.latent_shapes, strict=True)
        ]
        of_label = [tf.gather(weight, labels) for weight in (self.mean, self.log_std)]
        mean, log_std = (tf.reshape(w, [-1, *self.latent_shapes[-1]]) for w in of_label)
        return [*noises[:-1], mean + noises[-1] * tf.exp(log_std)]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_classes": self.num_classes}


def per_image(log_det: tf.Tensor | float, x: tf.Tensor) -> tf.Tensor:
    """One number for all images as float32[B]."""
    return tf.fill(tf.shape(x)[:1], tf.cast(log_det, tf.float32))


def zero_convolution(channels: int, dtype: keras.DTypePolicy) -> keras.layers.Conv2D:
    """A 3x3 convolution that gives zeros until it is trained."""
    return keras.layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros", dtype=dtype)


def bounded(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A net's outputs as float32 (log_scale, shift), log_scale within _MAX_LOG_SCALE of 0."""
    log_scale, shift = tf.split(tf.cast(x, tf.float32), 2, axis=-1)
    return _MAX_LOG_SCALE * tf.tanh(log_scale / _MAX_LOG_SCALE), shift


def _log_normal(z: tf.Tensor) -> tf.Tensor:
    """Log-density of a standard normal, over the last axis."""
    return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2.0 * math.pi), axis=-1)
