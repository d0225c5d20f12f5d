"""The nets as values: their settings, checked before TensorFlow is loaded."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    import keras

NORMS = ("none", "batch", "instance", "layer", "act")

ACTIVATIONS = ("leaky_relu", "relu", "swish", "softplus", "elu", "gelu", "mish", "tanh")
"""leaky_relu and relu are piecewise linear: the second derivatives of logits in x are zero almost everywhere, so that
Fisher scores and other losses made of input gradients lose the curvature of the net. elu has one continuous derivative,
the others have all."""

_DROPOUT = "dropout rate inside residual blocks"


@value
class Net(Value):
    """A net that can be built for any images and classes: images in [0, 1] -> logits."""

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        """The net, its weights drawn from Keras' global seed."""
        raise NotImplementedError


@value
class ConvNet(Net):
    """Settings that all convolutional classifiers share."""

    norm: str = setting("none", "normalisation layers", choices=NORMS)
    norm_momentum: float = setting(
        0.9,
        "batch: share of the running statistics that a pass keeps; PyTorch's momentum m is 1 - m here",
        at_least=0.0,
        below=1.0,
    )
    activation: str = setting("leaky_relu", "activation", choices=ACTIVATIONS)
    dropout: float = setting(0.0, _DROPOUT, at_least=0.0, below=1.0)
    spectral_norm: bool = setting(False, "kernels of spectral norm one (IGEBM)")

    def _check(self) -> None:
        super()._check()
        if self.norm != "batch" and self.norm_momentum != ConvNet.norm_momentum:
            raise ValueError(
                f"norm_momentum={self.norm_momentum} has no effect with norm={self.norm}; only batch uses it. Remove it"
            )


@value
class SmallCNN(ConvNet):
    """Three convolutions and a linear head: 98,000 weights for 8x8 images."""

    word: ClassVar[str] = "small_cnn"

    head: str = setting("flatten", "flatten or average pooling before the logits", choices=("flatten", "average"))

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        from jeat_tf.models.cnn import small_cnn

        return small_cnn(
            image_shape,
            num_classes,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
            activation=self.activation,
            head=self.head,
            dropout=self.dropout,
            spectral_norm=self.spectral_norm,
        )


@value
class WideResNet(ConvNet):
    """WRN-depth-width (Zagoruyko & Komodakis, 2016)."""

    word: ClassVar[str] = "wide_resnet"

    depth: int = setting(28, "depth, 6 n + 4", at_least=10)
    width: int = setting(10, "widening factor", at_least=1)
    shortcut: str = setting(
        "activated",
        "what a block that changes shape adds: its activated input, or as in JEM's code the raw one",
        choices=("activated", "raw"),
    )

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        from jeat_tf.models.residual import wide_resnet

        return wide_resnet(
            image_shape,
            num_classes,
            depth=self.depth,
            width=self.width,
            shortcut=self.shortcut,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
            activation=self.activation,
            dropout=self.dropout,
            spectral_norm=self.spectral_norm,
        )


@value
class PreActResNet18(ConvNet):
    """The pre-activation ResNet-18 of adversarial training on CIFAR (Rice et al., 2020)."""

    word: ClassVar[str] = "pre_act_resnet18"

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        from jeat_tf.models.pre_act import pre_act_resnet18

        return pre_act_resnet18(
            image_shape,
            num_classes,
            norm=self.norm,
            norm_momentum=self.norm_momentum,
            activation=self.activation,
            dropout=self.dropout,
            spectral_norm=self.spectral_norm,
        )


@value
class FlowNet(Net):
    """A net whose logits are log p(x | y), for the method flow."""


@value
class Glow(FlowNet):
    """An exactly invertible flow, for the method flow (Kingma & Dhariwal, 2018)."""

    word: ClassVar[str] = "glow"

    levels: int = setting(2, "levels; the image sides are multiples of 2^levels", at_least=1, flag="flow_levels")
    steps: int = setting(4, "steps of flow in each level", at_least=1, flag="flow_steps")
    channels: int = setting(64, "channels inside the couplings", at_least=1, flag="flow_width")

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        from jeat_tf.models.glow import glow

        return glow(image_shape, num_classes, levels=self.levels, depth=self.steps, width=self.channels)


@value
class ResidualFlow(FlowNet):
    """A flow of residual blocks that are contractions, for the method flow (Chen et al., 2019)."""

    word: ClassVar[str] = "residual_flow"

    levels: int = setting(
        2, "sizes of the image; its sides are multiples of 2^(levels - 1)", at_least=1, flag="flow_levels"
    )
    steps: int = setting(4, "residual blocks at each size", at_least=1, flag="flow_steps")
    channels: int = setting(64, "channels inside the blocks", at_least=1, flag="flow_width")
    coefficient: float = setting(
        0.9, "bound on the norm of each convolution of a block", above=0.0, below=1.0, flag="flow_coefficient"
    )
    terms: int = setting(8, "terms of the series of the log-determinant, in inference", at_least=1, flag="flow_terms")

    def build(self, image_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
        from jeat_tf.models.residual_flow import residual_flow

        return residual_flow(
            image_shape,
            num_classes,
            levels=self.levels,
            depth=self.steps,
            width=self.channels,
            coefficient=self.coefficient,
            terms=self.terms,
        )


NETS = by_word(SmallCNN, WideResNet, PreActResNet18, Glow, ResidualFlow)
"""Nets by name."""
