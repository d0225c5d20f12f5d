"""The layouts of published PyTorch nets: a table, and each net's forward pass."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import keras

from jeat_tf.convert.parts import Padding, Parts
from jeat_tf.convert.state import Normalization

Forward = Callable[[Parts, keras.KerasTensor], keras.KerasTensor]
"""(parts, normalised images) -> logits."""

NORMALIZATIONS: dict[str, Normalization] = {
    "none": ((0.0,), (1.0,)),
    "[-1, 1]": ((0.5,), (0.5,)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "CIFAR-10, kuangliu": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""What published nets do to pixels in [0, 1], for nets whose file does not say."""


class Layout(NamedTuple):
    """How a family of published nets names and shapes its arrays, and what it computes from them.

    Attributes:
      published: who publishes such nets.
      forward: the net; depth and width are read from the arrays.
      image_shape: (H, W, C).
      normalization: name in NORMALIZATIONS; empty where nets of this layout differ.
      unused: first parts of the names of arrays that the logits do not depend on.
    """

    published: str
    forward: Forward
    image_shape: tuple[int, int, int] = (32, 32, 3)
    normalization: str = ""
    unused: tuple[str, ...] = ()


def jem_wide_resnet(parts: Parts, x: keras.KerasTensor, *, groups: int) -> keras.KerasTensor:
    """JEM's Wide-ResNet: biases, strides in a block's second convolution, shortcuts of the block's input.

    Normalisation, if its arrays are there, is BatchNorm. https://github.com/wgrathwohl/JEM, wideresnet.py.
    """
    normalized = parts.has("f.bn1.weight")
    width = parts.channels("f.layer1.0.conv1", 160)

    def activate(x: keras.KerasTensor, norm: str) -> keras.KerasTensor:
        return parts.activate(parts.norm(x, norm) if normalized else x, "leaky_relu")

    def block(x: keras.KerasTensor, name: str, channels: int, strides: int) -> keras.KerasTensor:
        residual = parts.conv(activate(x, f"{name}.bn1"), f"{name}.conv1", channels, bias=True)
        residual = activate(residual, f"{name}.bn2")
        residual = parts.conv(residual, f"{name}.conv2", channels, strides=strides, bias=True)
        if strides > 1 or x.shape[-1] != channels:
            x = parts.conv(x, f"{name}.shortcut.0", channels, 1, strides=strides, bias=True)
        return parts.add(residual, x)

    x = parts.conv(x, "f.conv1", parts.channels("f.conv1", 16), bias=True)
    for group in range(groups):
        for i in range(parts.count(f"f.layer{group + 1}", 4)):
            x = block(x, f"f.layer{group + 1}.{i}", width * 2**group, 2 if group and not i else 1)
    x = parts.average(activate(x, "f.bn1"))
    return parts.dense(x, "class_output", parts.channels("class_output", 10))


def wide_resnet(parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    """TRADES' and RobustBench's Wide-ResNet.

    https://github.com/yaodongyu/TRADES, models/wideresnet.py; a `sub_block1` in some files is never called.
    """
    width = parts.channels("block1.layer.0.conv1", 160)

    def block(x: keras.KerasTensor, name: str, channels: int, strides: int) -> keras.KerasTensor:
        active = parts.activate(parts.norm(x, f"{name}.bn1"), "relu")
        residual = parts.conv(active, f"{name}.conv1", channels, strides=strides)
        residual = parts.activate(parts.norm(residual, f"{name}.bn2"), "relu")
        residual = parts.conv(residual, f"{name}.conv2", channels)
        if x.shape[-1] != channels:
            x = parts.conv(active, f"{name}.convShortcut", channels, 1, strides=strides)
        return parts.add(x, residual)

    x = parts.conv(x, "conv1", parts.channels("conv1", 16))
    for group in range(3):
        for i in range(parts.count(f"block{group + 1}.layer", 4)):
            x = block(x, f"block{group + 1}.layer.{i}", width * 2**group, 2 if group and not i else 1)
    x = parts.average(parts.activate(parts.norm(x, "bn1"), "relu"))
    return parts.dense(x, "fc", parts.channels("fc", 10))


def deepmind_wide_resnet(parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    """DeepMind's Wide-ResNet with SiLU; strided convolutions are padded after the image, as TensorFlow does.

    Gowal et al., 2020; https://github.com/google-deepmind/deepmind-research, adversarial_robustness.
    """
    width = parts.channels("layer.0.block.0.conv_0", 160)

    def block(x: keras.KerasTensor, name: str, channels: int, strides: int) -> keras.KerasTensor:
        active = parts.activate(parts.norm(x, f"{name}.batchnorm_0"), "silu")
        residual = parts.conv(active, f"{name}.conv_0", channels, strides=strides, padding=_after(strides))
        residual = parts.activate(parts.norm(residual, f"{name}.batchnorm_1"), "silu")
        residual = parts.conv(residual, f"{name}.conv_1", channels)
        if x.shape[-1] != channels:
            x = parts.conv(active, f"{name}.shortcut", channels, 1, strides=strides)
        return parts.add(x, residual)

    x = parts.conv(x, "init_conv", parts.channels("init_conv", 16))
    for group in range(3):
        for i in range(parts.count(f"layer.{group}.block", 4)):
            x = block(x, f"layer.{group}.block.{i}", width * 2**group, 2 if group and not i else 1)
    x = parts.average(parts.activate(parts.norm(x, "batchnorm"), "silu"))
    return parts.dense(x, "logits", parts.channels("logits", 10))


def deepmind_pre_act_resnet(parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    """DeepMind's PreAct ResNet with SiLU and 3x3 shortcuts of the block's input (Rebuffi et al., 2021)."""
    width = parts.channels("layer_0.0.conv_2d_1", 64)

    def block(x: keras.KerasTensor, name: str, channels: int, strides: int) -> keras.KerasTensor:
        padding = _after(strides)
        residual = parts.activate(parts.norm(x, f"{name}.batchnorm_0"), "silu")
        residual = parts.conv(residual, f"{name}.conv_2d_1", channels, strides=strides, padding=padding)
        residual = parts.activate(parts.norm(residual, f"{name}.batchnorm_1"), "silu")
        residual = parts.conv(residual, f"{name}.conv_2d_2", channels)
        if strides > 1 or x.shape[-1] != channels:
            x = parts.conv(x, f"{name}.shortcut", channels, strides=strides, padding=padding)
        return parts.add(residual, x)

    x = parts.conv(x, "conv_2d", parts.channels("conv_2d", 64))
    for group in range(4):
        for i in range(parts.count(f"layer_{group}", 2)):
            x = block(x, f"layer_{group}.{i}", width * 2**group, 2 if group and not i else 1)
    x = parts.average(parts.activate(parts.norm(x, "batchnorm"), "silu"))
    return parts.dense(x, "logits", parts.channels("logits", 10))


def _after(strides: int) -> Padding:
    return 1 if strides == 1 else ((0, 1), (0, 1))


def pre_act_resnet(parts: Parts, x: keras.KerasTensor, *, shortcut_of: str) -> keras.KerasTensor:
    """The PreAct ResNet of Fast, Rice et al. and RobustBench, with or without a last BatchNorm.

    `shortcut_of`: what goes through a block's 1x1 shortcut, its "input" or its first "activation". The arrays are the
    same. https://github.com/RobustBench/robustbench, architectures/resnet.py: PreActBlock and PreActBlockV2.
    """
    width = parts.channels("layer1.0.conv1", 64)

    def block(x: keras.KerasTensor, name: str, channels: int, strides: int) -> keras.KerasTensor:
        active = parts.activate(parts.norm(x, f"{name}.bn1"), "relu")
        residual = parts.conv(active, f"{name}.conv1", channels, strides=strides)
        residual = parts.activate(parts.norm(residual, f"{name}.bn2"), "relu")
        residual = parts.conv(residual, f"{name}.conv2", channels)
        if strides > 1 or x.shape[-1] != channels:
            source = x if shortcut_of == "input" else active
            x = parts.conv(source, f"{name}.shortcut.0", channels, 1, strides=strides)
        return parts.add(residual, x)

    x = parts.conv(x, "conv1", parts.channels("conv1", 64))
    for group in range(4):
        for i in range(parts.count(f"layer{group + 1}", 2)):
            x = block(x, f"layer{group + 1}.{i}", width * 2**group, 2 if group and not i else 1)
    if parts.has("bn.weight"):
        x = parts.activate(parts.norm(x, "bn"), "relu")
    return parts.dense(parts.average(x), "linear", parts.channels("linear", 10))


def resnet(
    parts: Parts, x: keras.KerasTensor, *, groups: int, shortcut: str, head: str, stem: int = 3, pool: bool = False
) -> keras.KerasTensor:
    """A ResNet whose blocks end in an activation, of basic or bottleneck blocks.

    https://github.com/akamaster/pytorch_resnet_cifar10, https://github.com/kuangliu/pytorch-cifar, torchvision.

    Args:
      parts: of the state_dict.
      x: images.
      groups: of blocks.
      shortcut: name of the modules where the shape changes; empty: option A, which has no arrays.
      head: name of the last module.
      stem: size of the first kernel; 7 has strides of 2.
      pool: whether max pooling follows the stem.
    """
    bottleneck = parts.has("layer1.0.conv3.weight")
    width = parts.channels("layer1.0.conv1", 16 if groups == 3 else 64)

    def block(x: keras.KerasTensor, name: str, width: int, strides: int) -> keras.KerasTensor:
        channels = 4 * width if bottleneck else width
        first = (1, 1) if bottleneck else (3, strides)
        residual = parts.conv(x, f"{name}.conv1", width, first[0], strides=first[1])
        residual = parts.activate(parts.norm(residual, f"{name}.bn1"), "relu")
        residual = parts.conv(residual, f"{name}.conv2", width, strides=strides if bottleneck else 1)
        residual = parts.norm(residual, f"{name}.bn2")
        if bottleneck:
            residual = parts.conv(parts.activate(residual, "relu"), f"{name}.conv3", channels, 1)
            residual = parts.norm(residual, f"{name}.bn3")
        if strides > 1 or x.shape[-1] != channels:
            if shortcut:
                x = parts.conv(x, f"{name}.{shortcut}.0", channels, 1, strides=strides)
                x = parts.norm(x, f"{name}.{shortcut}.1")
            else:
                x = parts.subsample(x, channels)
        return parts.activate(parts.add(residual, x), "relu")

    x = parts.conv(x, "conv1", parts.channels("conv1", width), stem, strides=2 if stem == 7 else 1)
    x = parts.activate(parts.norm(x, "bn1"), "relu")
    if pool:
        x = parts.max_pool(x, 3, strides=2, padding=1)
    for group in range(groups):
        for i in range(parts.count(f"layer{group + 1}", 3 if groups == 3 else 2)):
            x = block(x, f"layer{group + 1}.{i}", width * 2**group, 2 if group and not i else 1)
    return parts.dense(parts.average(x), head, parts.channels(head, 10))


def trades_small_cnn(parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    """TRADES' net for MNIST. https://github.com/yaodongyu/TRADES, models/small_cnn.py."""
    for i, published in enumerate((32, 32, 64, 64), start=1):
        name = f"feature_extractor.conv{i}"
        x = parts.conv(x, name, parts.channels(name, published), padding=0, bias=True)
        x = parts.activate(x, "relu")
        if i in (2, 4):
            x = parts.max_pool(x, 2, strides=2)
    for i, published in enumerate((200, 200), start=1):
        name = f"classifier.fc{i}"
        x = parts.activate(parts.dense(x, name, parts.channels(name, published)), "relu")
    return parts.dense(x, "classifier.fc3", parts.channels("classifier.fc3", 10))


def fast_mnist_cnn(parts: Parts, x: keras.KerasTensor) -> keras.KerasTensor:
    """Fast adversarial training's net for MNIST, a Sequential without names.

    https://github.com/locuslab/fast_adversarial, MNIST/mnist_net.py.
    """
    for name, published in (("0", 16), ("2", 32)):
        x = parts.conv(x, name, parts.channels(name, published), 4, strides=2, padding=1, bias=True)
        x = parts.activate(x, "relu")
    x = parts.activate(parts.dense(x, "5", parts.channels("5", 100)), "relu")
    return parts.dense(x, "7", parts.channels("7", 10))


_JEM_UNUSED = ("energy_output", "f.linear", "f.layer_one", "f.other_layers")

LAYOUTS: dict[str, Layout] = {
    "jem_wide_resnet": Layout(
        "JEM, JEM++, SADA-JEM", partial(jem_wide_resnet, groups=3), normalization="[-1, 1]", unused=_JEM_UNUSED
    ),
    "jem_wide_resnet_64": Layout(
        "SADA-JEM, images of 64 pixels",
        partial(jem_wide_resnet, groups=4),
        (64, 64, 3),
        normalization="[-1, 1]",
        unused=_JEM_UNUSED,
    ),
    "wide_resnet": Layout("TRADES, AWP, RobustBench's WideResNet", wide_resnet, unused=("sub_block1",)),
    "deepmind_wide_resnet": Layout("RobustBench's DMWideResNet with SiLU", deepmind_wide_resnet),
    "deepmind_pre_act_resnet": Layout("RobustBench's DMPreActResNet with SiLU", deepmind_pre_act_resnet),
    "pre_act_resnet": Layout(
        "Fast, RobustBench's PreActResNet of PreActBlock", partial(pre_act_resnet, shortcut_of="input")
    ),
    "pre_act_resnet_v2": Layout(
        "Rice et al., AWP, kuangliu, RobustBench's PreActResNet of PreActBlockV2",
        partial(pre_act_resnet, shortcut_of="activation"),
    ),
    "resnet_option_a": Layout(
        "akamaster's ResNet-20 to -110 for CIFAR",
        partial(resnet, groups=3, shortcut="", head="linear"),
        normalization="ImageNet",
    ),
    "resnet_option_b": Layout(
        "akamaster's ResNets with option B",
        partial(resnet, groups=3, shortcut="shortcut", head="linear"),
        normalization="ImageNet",
    ),
    "resnet": Layout(
        "kuangliu's and RobustBench's ResNet-18, -34, -50 for CIFAR",
        partial(resnet, groups=4, shortcut="shortcut", head="linear"),
    ),
    "torchvision_resnet": Layout(
        "torchvision's ResNets, RobustBench's for ImageNet",
        partial(resnet, groups=4, shortcut="downsample", head="fc", stem=7, pool=True),
        (224, 224, 3),
    ),
    "torchvision_resnet_cifar": Layout(
        "torchvision's ResNets with a 3x3 first kernel",
        partial(resnet, groups=4, shortcut="downsample", head="fc"),
    ),
    "torchvision_resnet_cifar_pool": Layout(
        "the same with max pooling after it, as huyvnphan's",
        partial(resnet, groups=4, shortcut="downsample", head="fc", pool=True),
    ),
    "trades_small_cnn": Layout("TRADES' SmallCNN for MNIST", trades_small_cnn, (28, 28, 1), normalization="none"),
    "fast_mnist_cnn": Layout("Fast's net for MNIST", fast_mnist_cnn, (28, 28, 1), normalization="none"),
}
