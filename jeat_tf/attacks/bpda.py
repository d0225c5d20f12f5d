"""Gradients for layers that have none: BPDA (Athalye et al., 2018, https://arxiv.org/abs/1802.00420, sec. 4.1).

A layer that rounds, quantises or sets small values aside gives a gradient of 0, and gradient attacks on the net fail
without its being robust. The attacked net keeps the layer's output and takes the gradient of a similar function.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.values import nearest

BackwardFn = Callable[[tf.Tensor], tf.Tensor]
"""float[B, ...] -> a tensor of the shape of the layer's output; its gradient stands for the layer's."""

_ZERO_SHARE = 0.9  # of a layer's gradient; more than max-pooling of 2 x 2 gives
_PARTIAL = (keras.layers.ReLU, keras.layers.Activation, keras.layers.Dropout)  # their zeros are by design
_SHOWN = 8  # images that a layer's gradient is looked at with


def identity(x: tf.Tensor) -> tf.Tensor:
    """x: the straight-through gradient."""
    return x


BACKWARD: dict[str, BackwardFn] = {"identity": identity, "relu": tf.nn.relu, "sigmoid": tf.sigmoid, "tanh": tf.tanh}
"""Functions that `--bpda` knows by name."""


def bpda(net: keras.Model, backward: Mapping[str, BackwardFn]) -> keras.Model:
    """The same net, with other gradients in some layers: same weights, same logits.

    >>> adaptive = bpda(net, {"quantise": identity})

    Args:
      net: a functional or sequential model.
      backward: name of a layer -> function whose gradient stands for the layer's.

    Raises:
      ValueError: a layer that is not there, with its neighbours, one with several inputs, a net without a graph of
        layers, or a function that changes the shape to another than the layer's output.
    """
    names = layer_names(net)
    for name in backward:
        if name not in names:
            raise ValueError(f'the net has no layer "{name}" for BPDA; {nearest(name, names)}')

    def replaced(layer: keras.Layer) -> keras.Layer:
        return _Bypassed(layer, backward[layer.name]) if layer.name in backward else layer

    return keras.models.clone_model(net, clone_function=replaced)


def parse(text: str) -> dict[str, BackwardFn]:
    """What `--bpda=layer:identity,other:tanh` says.

    Raises:
      ValueError: no `layer:function`, or an unknown function.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        layer, colon, word = part.rpartition(":")
        if not colon or not layer:
            raise ValueError(f'expected --bpda=layer:function, e.g. quantise:identity, received "{part}"')
        if word not in BACKWARD:
            raise ValueError(f'unknown function "{word}" in --bpda={part}; {nearest(word, BACKWARD)}')
        found[layer] = BACKWARD[word]
    return found


def layer_names(net: keras.Model) -> list[str]:
    """Names of the layers that BPDA can reach.

    Raises:
      ValueError: the net is no graph of layers.
    """
    if not _is_graph(net):
        raise ValueError(
            f"expected a functional or sequential Keras model for BPDA, received {type(net).__name__}; "
            "give an attack your own function with tf.custom_gradient instead"
        )
    return [layer.name for layer in net.layers if not isinstance(layer, keras.layers.InputLayer)]


def silent_layers(net: Any, x: np.ndarray) -> dict[str, float]:
    """Layers through which next to no gradient passes, and the share of their gradient that is 0.

    Only layers whose output has the shape of their input are looked at, because for these a straight-through gradient
    exists. Activations are left out: half of a ReLU's gradient is 0 by design.

    Args:
      net: a Keras model; anything else has no layers to look at.
      x: float32[N, H, W, C] in [0, 1]; the first eight are used.
    """
    if not _is_graph(net):
        return {}
    inputs: dict[str, tf.Tensor] = {}
    try:
        watched = keras.models.clone_model(net, clone_function=lambda layer: _Watched(layer, inputs))
        watched(x[:_SHOWN], training=False)
    except (TypeError, ValueError):  # operations with arguments that are no tensors cannot be wrapped as layers
        return {}
    found = {}
    for layer in net.layers:
        reached = inputs.get(layer.name)
        if reached is None or isinstance(layer, _PARTIAL):
            continue
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(reached)
            try:
                outputs = layer(reached)
            except (TypeError, ValueError):  # it takes more than one input
                continue
        if not tf.is_tensor(outputs) or outputs.shape != reached.shape:
            continue
        gradient = tape.gradient(outputs, reached, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        share = float(np.mean(gradient.numpy() == 0))
        if share >= _ZERO_SHARE:
            found[layer.name] = share
    return found


def _is_graph(net: Any) -> bool:
    """Whether a net is a functional or sequential model, whose layers can be taken apart."""
    return isinstance(net, keras.Sequential) or (
        isinstance(net, keras.Model) and bool(getattr(net, "operations", None))
    )


class _Watched(keras.Layer):
    """A layer that notes what reaches it, where that is one tensor of numbers."""

    def __init__(self, layer: keras.Layer, inputs: dict[str, tf.Tensor]):
        super().__init__(name=layer.name, trainable=False)
        self.layer, self.note = layer, inputs.__setitem__

    def call(self, x: Any, *others: Any, **settings: Any) -> Any:
        if isinstance(x, tf.Tensor) and x.dtype.is_floating and not others:
            self.note(self.name, x)
        return self.layer(x, *others, **settings)


class _Bypassed(keras.Layer):
    """A layer with the gradient of another function."""

    def __init__(self, layer: keras.Layer, backward: BackwardFn):
        super().__init__(name=layer.name, trainable=False)
        self.layer, self.backward = layer, backward

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if isinstance(x, (list, tuple, dict)):
            raise ValueError(f'expected a layer of one input for BPDA, received "{self.name}", which has {len(x)}')
        outputs = tf.stop_gradient(self.layer(x))
        if self.backward(x).shape[1:] != outputs.shape[1:]:
            raise ValueError(
                f'expected a function for BPDA that gives the shape {list(outputs.shape[1:])} of "{self.name}", '
                f"received {list(self.backward(x).shape[1:])}"
            )
        return self._bypass(x, outputs)

    def _bypass(self, x: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def forward(x: tf.Tensor, outputs: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(x)
                    similar = self.backward(x)
                return tape.gradient(similar, x, output_gradients=upstream), None

            return tf.identity(outputs), gradient

        return forward(x, outputs)
