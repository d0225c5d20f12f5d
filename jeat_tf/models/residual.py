"""Wide residual networks (Zagoruyko & Komodakis, 2016), with the choices of the JEM family."""

import keras

from jeat_tf.models.pre_act import Group, pre_act_resnet


def wide_resnet(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    depth: int = 28,
    width: int = 10,
    norm: str = "none",
    norm_momentum: float = 0.9,
    activation: str = "leaky_relu",
    dropout: float = 0.0,
    spectral_norm: bool = False,
    shortcut: str = "activated",
) -> keras.Model:
    """WRN-depth-width: three groups of (depth - 4) / 6 blocks with 16, 32 and 64 times width channels.

    Args:
      image_shape: (H, W, C).
      num_classes: K.
      depth: 10, 16, 22, 28, ...: 6 n + 4.
      width: the widening factor.
      norm: see `nets.NORMS`; "none" as in JEM and JEAT.
      norm_momentum: share of running batch statistics that a pass keeps.
      activation: see `nets.ACTIVATIONS`.
      dropout: rate between the two convolutions of a block.
      spectral_norm: see `layers.linear`; for all layers but the last.
      shortcut: see `pre_act_resnet`.

    Returns:
      net: images [0, 1] -> logits float32[B, K].

    Raises:
      ValueError: the depth is not 6 n + 4 with n >= 1.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"expected a depth of 6 n + 4 (10, 16, 22, 28, ...), received {depth}")
    return pre_act_resnet(
        image_shape,
        num_classes,
        stem=16,
        groups=[Group((depth - 4) // 6, 16 * width * 2**i, 1 if i == 0 else 2) for i in range(3)],
        norm=norm,
        norm_momentum=norm_momentum,
        activation=activation,
        dropout=dropout,
        spectral_norm=spectral_norm,
        shortcut=shortcut,
        name=f"wide_resnet_{depth}_{width}",
    )
