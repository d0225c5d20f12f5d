"""Wide residual networks (Zagoruyko & Komodakis, 2016), with the choices of the JEM family."""

import keras

from jeat_tf.models.layers import activate, images_in, logits_out, normalize

# Uniform within 1 / sqrt(fan_in): the initialisation that JEM's and JEM++'s nets are trained from. It keeps the
# residual branches small, which a net without normalisation needs.
_UNNORMALIZED_INITIALIZER = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}


def wide_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 28,
    width: int = 10,
    norm: str = "none",
    activation: str = "leaky_relu",
    dropout: float = 0.0,
) -> keras.Model:
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times width channels.

    Args:
      image_shape: (H, W, C).
      num_classes: K.
      depth: 10, 16, 22, 28, ...: 6 n + 4.
      width: the widening factor.
      norm: see `layers.NORMS`; "none" as in JEM and JEAT.
      activation: see `layers.ACTIVATIONS`.
      dropout: rate between the two convolutions of a block.

    Returns:
      net: images [0, 1] -> logits float32[B, K].

    Raises:
      ValueError: the depth is not 6 n + 4 with n >= 1.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"expected a depth of 6 n + 4 (10, 16, 22, 28, ...), received {depth}")

    def initializer() -> keras.initializers.Initializer:
        if norm == "none":
            return keras.initializers.VarianceScaling(**_UNNORMALIZED_INITIALIZER)
        return keras.initializers.HeNormal()

    def convolve(x: keras.KerasTensor, channels: int, size: int = 3, strides: int = 1) -> keras.KerasTensor:
        return keras.layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=norm == "none",
            kernel_initializer=initializer(),
        )(x)

    def block(x: keras.KerasTensor, channels: int, strides: int) -> keras.KerasTensor:
        residual = activate(normalize(x, norm), activation)
        if strides > 1 or x.shape[-1] != channels:
            x = convolve(residual, channels, size=1, strides=strides)
        residual = convolve(residual, channels, strides=strides)
        residual = activate(normalize(residual, norm), activation)
        if dropout:
            residual = keras.layers.Dropout(dropout)(residual)
        return keras.layers.Add()([x, convolve(residual, channels)])

    inputs, x = images_in(image_shape)
    x = convolve(x, 16)
    for group, strides in enumerate((1, 2, 2)):
        for i in range((depth - 4) // 6):
            x = block(x, 16 * width * 2**group, strides if i == 0 else 1)
    x = activate(normalize(x, norm), activation)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = logits_out(x, num_classes, kernel_initializer=initializer())
    return keras.Model(inputs, logits, name=f"wide_resnet_{depth}_{width}")
