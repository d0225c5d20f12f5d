"""Residual networks with pre-activation (He et al., 2016): the frame, and ResNet-18 in its form for small images."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from jeat_tf.models.layers import activate, images_in, linear, logits_out, normalize

# Uniform within 1 / sqrt(fan_in): the initialisation that JEM's and JEM++'s nets are trained from. It keeps the
# residual branches small, which a net without normalisation needs.
_UNNORMALIZED_INITIALIZER = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}


class Group(NamedTuple):
    """Blocks of equal shape.

    Attributes:
      blocks: how many.
      channels: of every block.
      strides: of the first block.
    """

    blocks: int
    channels: int
    strides: int


def pre_act_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stem: int,
    groups: Sequence[Group],
    norm: str,
    norm_momentum: float,
    activation: str,
    dropout: float,
    spectral_norm: bool,
    name: str,
    shortcut: str = "activated",
) -> keras.Model:
    """A 3x3 convolution, groups of blocks, normalisation and activation, average pooling, a dense layer.

    A block is norm - activation - 3x3 convolution, twice, beside the identity; where the shape changes, beside a 1x1
    convolution of the first activation. "Identity mappings in deep residual networks", https://arxiv.org/abs/1603.05027.
    The block of JEM's code (`shortcut="raw"`) differs in two things: the 1x1 convolution takes the block's input, and
    it is the second 3x3 convolution that has the stride.

    Args:
      image_shape: (H, W, C).
      num_classes: K.
      stem: channels of the first convolution.
      groups: the residual blocks.
      norm: see `nets.NORMS`; "none" gives the convolutions biases and a smaller initialisation.
      norm_momentum: share of running batch statistics that a pass keeps.
      activation: see `nets.ACTIVATIONS`.
      dropout: rate between the two convolutions of a block.
      spectral_norm: see `layers.linear`; for all layers but the last.
      name: of the net.
      shortcut: "activated" or "raw".

    Returns:
      net: images [0, 1] -> logits float32[B, K].
    """

    def initializer() -> keras.initializers.Initializer:
        if norm == "none":
            return keras.initializers.VarianceScaling(**_UNNORMALIZED_INITIALIZER)
        return keras.initializers.HeNormal()

    def convolve(x: keras.KerasTensor, channels: int, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        layer = keras.layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=norm == "none",
            kernel_initializer=initializer(),
        )
        return linear(x, layer, spectral_norm)

    def block(x: keras.KerasTensor, channels: int, strides: int) -> keras.KerasTensor:
        first, second = (1, strides) if shortcut == "raw" else (strides, 1)
        residual = activate(normalize(x, norm, norm_momentum), activation)
        if strides > 1 or x.shape[-1] != channels:
            x = convolve(x if shortcut == "raw" else residual, channels, size=1, strides=strides)
        residual = convolve(residual, channels, strides=first)
        residual = activate(normalize(residual, norm, norm_momentum), activation)
        if dropout:
            residual = keras.layers.Dropout(dropout)(residual)
        return keras.layers.Add()([x, convolve(residual, channels, strides=second)])

    inputs, x = images_in(image_shape)
    x = convolve(x, stem)
    for blocks, channels, strides in groups:
        for i in range(blocks):
            x = block(x, channels, strides if i == 0 else 1)
    x = activate(normalize(x, norm, norm_momentum), activation)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = logits_out(x, num_classes, kernel_initializer=initializer())
    return keras.Model(inputs, logits, name=name)


def pre_act_resnet18(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    norm: str = "batch",
    norm_momentum: float = 0.9,
    activation: str = "relu",
    dropout: float = 0.0,
    spectral_norm: bool = False,
    width: int = 64,
) -> keras.Model:
    """PreAct ResNet-18 for images of about 32 pixels: the net of Fast adversarial training (Wong et al., 2020) and AWP.

    11.17 million weights for CIFAR-10. Its initialisation is He et al.'s; the authors' code has PyTorch's default.

    Args:
      image_shape: (H, W, C).
      num_classes: K.
      norm: see `nets.NORMS`.
      norm_momentum: share of running batch statistics that a pass keeps.
      activation: see `nets.ACTIVATIONS`.
      dropout: rate between the two convolutions of a block.
      spectral_norm: see `layers.linear`; for all layers but the last.
      width: channels of the first group; the others have 2, 4 and 8 times as many.

    Returns:
      net: images [0, 1] -> logits float32[B, K].
    """
    return pre_act_resnet(
        image_shape,
        num_classes,
        stem=width,
        groups=[Group(2, width * 2**i, 1 if i == 0 else 2) for i in range(4)],
        norm=norm,
        norm_momentum=norm_momentum,
        activation=activation,
        dropout=dropout,
        spectral_norm=spectral_norm,
        name="pre_act_resnet18",
    )
