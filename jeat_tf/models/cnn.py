"""A convolutional net for images of 8 to 32 pixels that trains in a minute without a GPU."""

from collections.abc import Sequence

import keras

from jeat_tf.models.layers import activate, images_in, linear, logits_out, normalize


def small_cnn(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    widths: Sequence[int] = (32, 64, 128),
    norm: str = "none",
    norm_momentum: float = 0.9,
    activation: str = "leaky_relu",
    head: str = "flatten",
    dropout: float = 0.0,
    spectral_norm: bool = False,
) -> keras.Model:
    """3x3 convolutions, all but the first with stride 2, then one dense layer.

    About 98,000 weights for 8x8 digits with the default widths.

    Args:
      image_shape: (H, W, C).
      num_classes: K.
      widths: channels of each convolution.
      norm: see `nets.NORMS`.
      norm_momentum: share of running batch statistics that a pass keeps.
      activation: see `nets.ACTIVATIONS`.
      head: "flatten" keeps places apart, "average" pools them (features of the last width).
      dropout: rate before the dense layer.
      spectral_norm: see `layers.linear`; for all layers but the last.

    Returns:
      net: images [0, 1] -> logits float32[B, K].

    Raises:
      ValueError: a head, norm or activation of another name.
    """
    if head not in ("flatten", "average"):
        raise ValueError(f'expected head "flatten" or "average", received "{head}"')
    inputs, x = images_in(image_shape)
    for i, width in enumerate(widths):
        layer = keras.layers.Conv2D(width, 3, strides=1 if i == 0 else 2, padding="same")
        x = activate(normalize(linear(x, layer, spectral_norm), norm, norm_momentum), activation)
    x = keras.layers.Flatten()(x) if head == "flatten" else keras.layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, logits_out(x, num_classes), name="small_cnn")
