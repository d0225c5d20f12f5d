"""Choices shared by the nets: normalisation, activation, and the two ends."""

import keras

NORMS = ("none", "batch", "instance", "layer")
ACTIVATIONS = ("leaky_relu", "relu", "swish", "softplus")


def normalize(x: keras.KerasTensor, norm: str) -> keras.KerasTensor:
    """x through the normalisation of that name; "none" is JEM's choice (batch statistics couple images)."""
    if norm == "none":
        return x
    if norm == "batch":
        return keras.layers.BatchNormalization(momentum=0.9)(x)
    if norm == "instance":
        return keras.layers.GroupNormalization(groups=-1)(x)
    if norm == "layer":
        return keras.layers.GroupNormalization(groups=1)(x)
    raise ValueError(f'expected a norm of {NORMS}, received "{norm}"')


def activate(x: keras.KerasTensor, activation: str) -> keras.KerasTensor:
    """x through the activation of that name; leaky_relu has slope 0.2, as in JEM and IGEBM."""
    if activation not in ACTIVATIONS:
        raise ValueError(f'expected an activation of {ACTIVATIONS}, received "{activation}"')
    if activation == "leaky_relu":
        return keras.layers.LeakyReLU(negative_slope=0.2)(x)
    return keras.layers.Activation(activation)(x)


def images_in(image_shape: tuple[int, int, int]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input, images in [0, 1], and the same in [-1, 1]: the only normalisation, inside the net."""
    inputs = keras.Input(image_shape, name="images")
    return inputs, keras.layers.Rescaling(2.0, -1.0)(inputs)


def logits_out(x: keras.KerasTensor, num_classes: int, **kwargs: object) -> keras.KerasTensor:
    """Logits in float32 under any precision policy: energies are sums of their exponentials."""
    return keras.layers.Dense(num_classes, dtype="float32", name="logits", **kwargs)(x)
