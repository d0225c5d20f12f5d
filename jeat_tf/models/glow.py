"""A Glow-type normalising flow (Kingma & Dhariwal, 2018): couplings and 1x1 convolutions, exactly invertible."""

from typing import Any

import keras
import tensorflow as tf

from jeat_tf.models.flow import (
    ActNorm,
    Bijection,
    Center,
    ClassGaussians,
    Split,
    Squeeze,
    bounded,
    per_image,
    zero_convolution,
)


def glow(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    levels: int = 2,
    depth: int = 4,
    width: int = 64,
) -> keras.Model:
    """Log-densities of images for each class, by an exactly invertible net.

    Each level is a squeeze, `depth` steps of (ActNorm, invertible 1x1 convolution, affine coupling) and, except in the
    last, a split that sends half of the channels to the latents; fig. 2 of Kingma & Dhariwal, 2018,
    https://arxiv.org/abs/1807.03039. Call `initialize_flow` on a batch before training. Glow for CIFAR-10 has levels=3,
    depth=32, width=512.

    Args:
      image_shape: (H, W, C), H and W multiples of 2^levels.
      num_classes: K.
      levels: times that the image is halved.
      depth: steps in each level.
      width: channels of the coupling nets.

    Returns:
      net: images in [0, 1] -> log p(x | y) float32[B, K] in nats; where it is 1e4, float32 has steps of 1e-3.

    Raises:
      ValueError: the image cannot be halved that often.
    """
    height, width_of_image, _ = image_shape
    if levels < 1 or height % 2**levels or width_of_image % 2**levels:
        raise ValueError(
            "expected levels >= 1 and images whose height and width are multiples of 2^levels, "
            f"received levels={levels} and images of {height}x{width_of_image}"
        )
    inputs = keras.Input(image_shape, name="images")
    x, log_det = Center()(inputs)
    latents, log_dets = [], [log_det]
    for level in range(levels):
        x, log_det = Squeeze()(x)
        log_dets.append(log_det)
        for _ in range(depth):
            for step in (ActNorm(), MixChannels(), AffineCoupling(width)):
                x, log_det = step(x)
                log_dets.append(log_det)
        if level < levels - 1:
            (x, noise), log_det = Split()(x)
            latents.append(noise)
            log_dets.append(log_det)
    logits = ClassGaussians(num_classes, name="logits")([*latents, x], log_dets)
    return keras.Model(inputs, logits, name="glow")


@keras.saving.register_keras_serializable("jeat_tf")
class MixChannels(Bijection):
    """An invertible 1x1 convolution W = P L (U + diag(sign exp(log_scale))) (Glow, eq. 10), a rotation at first.

    The permutation P and the signs are fixed. L is unit lower and U strictly upper triangular; `triangles` holds both.
    """

    def build(self, input_shape: tuple) -> None:
        c = input_shape[-1]
        with tf.init_scope():
            triangles, rows = tf.linalg.lu(tf.convert_to_tensor(keras.initializers.Orthogonal()((c, c))))
            diagonal = tf.linalg.diag_part(triangles)
            permutation = tf.one_hot(tf.math.invert_permutation(rows), c)

        def weight(name: str, value: tf.Tensor, trainable: bool = True) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=value.shape,
                initializer=lambda *args, **kwargs: value,
                trainable=trainable,
                autocast=False,
            )

        self.triangles = weight("triangles", tf.linalg.set_diag(triangles, tf.zeros(c)))
        self.log_scale = weight("log_scale", tf.math.log(tf.abs(diagonal)))
        self.sign = weight("sign", tf.sign(diagonal), trainable=False)
        self.permutation = weight("permutation", permutation, trainable=False)

    def _factors(self) -> tuple[tf.Tensor, tf.Tensor]:
        triangles = tf.convert_to_tensor(self.triangles)
        lower = tf.linalg.set_diag(tf.linalg.band_part(triangles, -1, 0), tf.ones_like(self.sign))
        upper = tf.linalg.set_diag(tf.linalg.band_part(triangles, 0, -1), self.sign * tf.exp(self.log_scale))
        return lower, upper

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        lower, upper = self._factors()
        log_det = x.shape[1] * x.shape[2] * tf.reduce_sum(self.log_scale)
        return _mixed(x, self.permutation @ lower @ upper), per_image(log_det, x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        lower, upper = self._factors()
        solved = tf.linalg.triangular_solve(lower, tf.transpose(self.permutation))
        return _mixed(y, tf.linalg.triangular_solve(upper, solved, lower=False))


@keras.saving.register_keras_serializable("jeat_tf")
class AffineCoupling(Bijection):
    """Half of the channels, scaled and shifted by a small net of the other half (Glow, table 1; the identity at first).

    The net is a 3x3 convolution with ReLU, a 1x1 one and a 3x3 one that is zero at first. Glow has ReLU in the middle
    too; tanh bounds scale and shift, without which images far from the data (noise, where chains start) grow from step
    to step and cannot be inverted in float32.
    """

    def __init__(self, width: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape: tuple) -> None:
        half = input_shape[-1] // 2
        shape = (*input_shape[:-1], half)
        hidden = {"kernel_initializer": "he_normal", "dtype": self.dtype_policy}
        self.convolutions = [
            keras.layers.Conv2D(self.width, 3, padding="same", activation="relu", **hidden),
            keras.layers.Conv2D(self.width, 1, activation="tanh", **hidden),
            zero_convolution(2 * half, self.dtype_policy),
        ]
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)

    def _log_scale_and_shift(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for convolution in self.convolutions:
            x = convolution(x)
        return bounded(x)

    def call(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept, moved = tf.split(x, 2, axis=-1)
        log_scale, shift = self._log_scale_and_shift(kept)
        moved = moved * tf.exp(log_scale) + shift
        return tf.concat([kept, moved], axis=-1), tf.reduce_sum(log_scale, axis=[1, 2, 3])

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        kept, moved = tf.split(y, 2, axis=-1)
        log_scale, shift = self._log_scale_and_shift(kept)
        return tf.concat([kept, (moved - shift) * tf.exp(-log_scale)], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def _mixed(x: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """The channels of each pixel, a row vector, times a matrix."""
    return tf.nn.conv2d(x, matrix[None, None], strides=1, padding="VALID")
