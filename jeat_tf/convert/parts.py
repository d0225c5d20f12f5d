"""PyTorch's modules as Keras layers, with the weights that a state_dict holds for them."""

from collections.abc import Callable, Mapping
from functools import partial

import keras
import numpy as np

Shape = tuple[int, ...]
Padding = int | tuple[tuple[int, int], tuple[int, int]]
"""Zeros on each side of an image, or ((top, bottom), (left, right))."""


class Parts:
    """Makes Keras layers by the names of PyTorch's modules, and notes which arrays these modules should have.

    All layers are Keras' own, so that the net loads without this package.

    Attributes:
      expected: shape of each array that the modules made so far should have, by name.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], *, dry: bool = False):
        """Of the arrays of a state_dict; `dry` makes no layers: it follows shapes alone, so any arrays will do."""
        self._arrays = arrays
        self._dry = dry
        self.expected: dict[str, Shape] = {}

    def has(self, name: str) -> bool:
        """Whether there is an array of that name."""
        return name in self._arrays

    def channels(self, module: str, published: int) -> int:
        """Output channels of a module, or the published number where its weight is missing."""
        weight = self._arrays.get(f"{module}.weight")
        return published if weight is None or not weight.ndim else len(weight)

    def count(self, module: str, published: int) -> int:
        """Number of blocks in a Sequential module, or the published number where there are none."""
        depth = module.count(".") + 1
        found = {name.split(".")[depth] for name in self._arrays if name.startswith(f"{module}.")}
        return len(found) or published

    def conv(
        self,
        x: keras.KerasTensor,
        name: str,
        channels: int,
        size: int = 3,
        *,
        strides: int = 1,
        padding: Padding | None = None,
        bias: bool = False,
    ) -> keras.KerasTensor:
        """`nn.Conv2d`: as many zeros on each side as PyTorch puts, where Keras' "same" would put fewer before.

        Args:
          x: float[B, H, W, C].
          name: of the module.
          channels: of the output.
          size: of the kernel.
          strides: in both directions.
          padding: None: size // 2 on each side.
          bias: whether the module has one.
        """
        padding = size // 2 if padding is None else padding
        kernel = self._take(f"{name}.weight", (channels, x.shape[-1], size, size)).transpose(2, 3, 1, 0)
        weights = [kernel, self._take(f"{name}.bias", (channels,))] if bias else [kernel]
        same = padding == size // 2 and size % 2 == 1 and strides == 1
        if padding and not same:
            x, padding = self._pad(x, padding), 0
        layer = partial(
            keras.layers.Conv2D,
            channels,
            size,
            strides=strides,
            padding="same" if same else "valid",
            use_bias=bias,
            kernel_initializer="zeros",
            name=_layer_name(name),
        )
        return self._call(layer, [x], _windows(x.shape, size, strides, padding, channels), weights)

    def norm(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """`nn.BatchNorm2d` with PyTorch's epsilon."""
        fields = "weight", "bias", "running_mean", "running_var"
        weights = [self._take(f"{name}.{field}", (x.shape[-1],)) for field in fields]
        layer = partial(keras.layers.BatchNormalization, momentum=0.9, epsilon=1e-5, name=_layer_name(name))
        return self._call(layer, [x], x.shape, weights)

    def dense(self, x: keras.KerasTensor, name: str, units: int) -> keras.KerasTensor:
        """`nn.Linear`; feature maps are flattened first, and the weights reordered, as PyTorch puts channels first."""
        shape = x.shape[1:]
        size = int(np.prod(shape))
        kernel = self._take(f"{name}.weight", (units, size))
        if len(shape) == 3:
            height, width, channels = shape
            kernel = kernel.reshape(units, channels, height, width).transpose(0, 2, 3, 1).reshape(units, size)
            x = self._call(keras.layers.Flatten, [x], (None, size))
        layer = partial(keras.layers.Dense, units, kernel_initializer="zeros", name=_layer_name(name))
        return self._call(layer, [x], (None, units), [kernel.T, self._take(f"{name}.bias", (units,))])

    def activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """ "relu", "silu", or "leaky_relu" with the slope 0.2 of the JEM family."""
        leaky = name == "leaky_relu"
        layer = partial(keras.layers.LeakyReLU, 0.2) if leaky else partial(keras.layers.Activation, name)
        return self._call(layer, [x], x.shape)

    def max_pool(self, x: keras.KerasTensor, size: int, *, strides: int, padding: int = 0) -> keras.KerasTensor:
        """`nn.MaxPool2d` of values that are not negative, whose padding may be zeros."""
        if padding:
            x = self._pad(x, padding)
        layer = partial(keras.layers.MaxPooling2D, size, strides=strides)
        return self._call(layer, [x], _windows(x.shape, size, strides, 0, x.shape[-1]))

    def average(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """The mean over all places."""
        return self._call(keras.layers.GlobalAveragePooling2D, [x], (None, x.shape[-1]))

    def add(self, x: keras.KerasTensor, y: keras.KerasTensor) -> keras.KerasTensor:
        """The sum of a block's two branches.

        Raises:
          ValueError: they have different shapes.
        """
        if x.shape != y.shape:
            raise ValueError(f"a block adds shapes {list(x.shape[1:])} and {list(y.shape[1:])}")
        return self._call(keras.layers.Add, [x, y], x.shape)

    def subsample(self, x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        """Option A of He et al., 2016: every second pixel, between zeros as further channels; no weights.

        The mean of one pixel is the pixel, so that pooling with strides is a slice. And a layer that takes the last two
        axes for an image's pads channels. Keras loads both in safe mode, as it would not a Lambda.
        """
        x = self._call(
            partial(keras.layers.AveragePooling2D, 1, strides=2), [x], _windows(x.shape, 1, 2, 0, x.shape[-1])
        )
        more = (channels - x.shape[-1]) // 2
        layer = partial(keras.layers.ZeroPadding2D, ((0, 0), (more, more)), data_format="channels_first")
        return self._call(layer, [x], (*x.shape[:-1], x.shape[-1] + 2 * more))

    def _pad(self, x: keras.KerasTensor, padding: Padding) -> keras.KerasTensor:
        shape = _windows(x.shape, 1, 1, padding, x.shape[-1])
        return self._call(partial(keras.layers.ZeroPadding2D, padding), [x], shape)

    def _take(self, name: str, shape: Shape) -> np.ndarray:
        self.expected[name] = shape
        return np.empty(shape, np.float32) if self._dry else self._arrays[name]

    def _call(
        self,
        layer: Callable[[], keras.Layer],
        inputs: list[keras.KerasTensor],
        shape: tuple[int | None, ...],
        weights: list[np.ndarray] | None = None,
    ) -> keras.KerasTensor:
        if self._dry:
            return keras.KerasTensor(shape)
        made = layer()
        outputs = made(inputs if len(inputs) > 1 else inputs[0])
        if weights is not None:
            made.set_weights(weights)
        return outputs


def _windows(shape: Shape, size: int, strides: int, padding: Padding, channels: int) -> tuple[int | None, ...]:
    """Shape of what slides over an image [B, H, W, C]."""
    pads = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    height, width = ((n + sum(pad) - size) // strides + 1 for n, pad in zip(shape[1:3], pads, strict=True))
    return None, height, width, channels


def _layer_name(module: str) -> str:
    return module.replace(".", "_")
