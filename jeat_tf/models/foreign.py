"""One door for nets from elsewhere: any Keras classifier as a net of images in [0, 1] -> logits."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import scipy.special

from jeat_tf.core.logits import are_probabilities, check_head, check_itself, check_output, head_of
from jeat_tf.models.missing import MissingSetting, in_python
from jeat_tf.models.origin import HEADS, PIXELS
from jeat_tf.models.precision import in_float32, random_images, same_outputs
from jeat_tf.models.shapes import named_outputs

_SCALES = {"0..1": (1.0, 0.0), "0..255": (255.0, 0.0), "-1..1": (2.0, -1.0)}
_TINY = 1e-37  # the least probability whose logarithm is taken
_MASKED = -1e9  # of a class that a mask leaves out, as keras.layers.Softmax has it
_CLOSE = 0.02  # of the largest output: a head in half precision rounds by 2^-8
_LOOKED_AT = 16  # random images that a rebuilt net is compared on


class Adapted(NamedTuple):
    """A net of images in [0, 1] -> logits, and what was done to get it.

    Attributes:
      net: a plain Keras model.
      changes: one sentence for each change; empty where the net was one already.
    """

    net: keras.Model
    changes: tuple[str, ...]


def as_logits(
    net: keras.Model,
    *,
    pixels: str = "0..1",
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    head: str = "auto",
    output: str | int | None = None,
) -> keras.Model:
    """A Keras model of images float32[B, H, W, C] in [0, 1] -> logits [B, K], made of a net from elsewhere.

    It shares all layers with the net except the head. `adapted` also describes each change.

    >>> net = jt.as_logits(keras.applications.MobileNetV2(), pixels="-1..1")

    Args:
      net: a Keras net; a subclassed one must have been called once.
      pixels: the range the net was trained on, "0..1", "0..255" or "-1..1".
      mean: subtracted after that, a number or one for each channel; (x - mean) / std.
      std: divided by after that, a number or one for each channel.
      head: how the net ends. "auto" looks at the graph. Where that shows nothing, it looks at outputs for random
        images. A head that cannot be rebuilt is taken off by a logarithm, which is exact until probabilities reach
        1e-37 (softmax) or 1 - 6e-8 (sigmoid).
      output: name or place of the output, for a net of several.

    Raises:
      ValueError: a net that is not a classifier of images, several outputs and none chosen, or a copy whose outputs
        are not the net's.
    """
    return adapted(net, pixels=pixels, mean=mean, std=std, head=head, output=output).net


def adapted(
    net: keras.Model,
    *,
    pixels: str = "0..1",
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    head: str = "auto",
    output: str | int | None = None,
) -> Adapted:
    """`as_logits`, with what was done.

    Raises:
      ValueError: see `as_logits`.
    """
    if pixels not in PIXELS:
        raise ValueError(f"expected pixels, one of {', '.join(PIXELS)}, received {pixels!r}")
    if head not in HEADS:
        raise ValueError(f"expected head, one of {', '.join(HEADS)}, received {head!r}")
    changes: list[str] = []
    body = _symbolic(net)
    body = _one_output(body, output, changes)
    body = in_float32(body, changes)
    body = _without_head(body, head, changes)
    while head == "auto" and head_of(body).activation not in ("linear", "unknown"):
        body = _without_head(body, head, changes)  # some nets end in two
    grey = len(body.input_shape) == 3  # images [B, H, W] without a channel
    scale, offset = _scaling(pixels, mean, std, 1 if grey else body.input_shape[-1])
    floats = str(keras.backend.standardize_dtype(body.inputs[0].dtype)).startswith("float")
    if not floats:
        changes.append(f"its input of type {body.inputs[0].dtype} became float32")
    if scale is not None or not floats or grey:
        inputs = keras.Input(body.input_shape[1:] + (1,) * grey, name="images")
        x = inputs if scale is None else keras.layers.Rescaling(scale, offset, name="pixels")(inputs)
        if grey:
            x = keras.ops.squeeze(x, -1)
            changes.append(f"its images {list(body.input_shape[1:])} became {list(inputs.shape[1:])}")
        body = keras.Model(inputs, _run(body, x), name=net.name)
        if scale is not None:
            changes.append(_said(pixels, mean, std))
    check_output(body.outputs[0])
    check_head(body)
    if not changes:
        return Adapted(net, ())
    return Adapted(body, tuple(changes))


def _symbolic(net: Any) -> keras.Model:
    """The net as a functional model of one input."""
    check_itself(net)
    if not isinstance(net, keras.Model):
        raise ValueError(f"expected a Keras net, received {type(net).__name__}; give a Keras model of images")
    try:
        inputs = net.inputs
    except (AttributeError, ValueError):
        inputs = None
    if inputs:
        if len(inputs) != 1:
            raise ValueError(f"expected a net with one input, images, received {len(inputs)}; make one input of them")
        if len(inputs[0].shape) not in (3, 4):
            raise ValueError(
                f"expected a net of images [B, H, W, C], received one of input shape {tuple(inputs[0].shape)}; begin "
                "it with a keras.Input of images and a layer that reshapes them"
            )
        return net
    shape = (net.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError("expected a net that knows the shape of its images; call it on a batch of images first")
    images = keras.Input(shape[1:], name="images")
    return keras.Model(images, net(images), name=net.name)


def _one_output(net: keras.Model, output: str | int | None, changes: list[str]) -> keras.Model:
    named = named_outputs(net)
    if len(net.outputs) == 1 and output is None and not named:
        return net
    outputs = named or dict(zip(_names(net), net.outputs, strict=True))
    if output is None and len(outputs) == 1:
        (output,) = outputs
    if output is None:
        known = ", ".join(sorted(outputs))
        several = f"expected a net with one output, received {known}; choose one by "
        raise MissingSetting(several, "output", "...", write=in_python)
    names = list(outputs)
    place = int(output) if str(output).lstrip("-").isdigit() and output not in names else None
    if place is not None and -len(names) <= place < len(names):
        output = names[place]
    if output not in outputs:
        raise ValueError(f"expected an output, one of {', '.join(names)}, received {output!r}")
    if len(outputs) == 1 and not named:
        return net
    changes.append(f'of its outputs {", ".join(names)}, "{output}" was taken')
    return keras.Model(net.inputs[0], outputs[output], name=net.name)


def _names(net: keras.Model) -> list[str]:
    names = list(getattr(net, "output_names", [])) or [str(i) for i in range(len(net.outputs))]
    return names if len(set(names)) == len(names) else [f"{name}_{i}" for i, name in enumerate(names)]


def _without_head(net: keras.Model, head: str, changes: list[str]) -> keras.Model:
    """The net without its last activation, and with two logits where it had one output."""
    seen = head_of(net).activation
    guessed = "" if head != "auto" else _guess(net, seen)
    kind = (guessed or seen) if head == "auto" else head
    if kind == "sparsemax" and _rebuilt(net.outputs[0]) is None:
        raise ValueError("expected a head that can be built again, received a sparsemax that cannot; take it off")
    outputs = net.outputs[0]
    wide = outputs.shape[-1]
    if len(outputs.shape) > 2 and all(side == 1 for side in outputs.shape[1:-1]):
        outputs = keras.layers.Reshape((wide,), name="one_place")(outputs)
        changes.append(f"its outputs {list(net.outputs[0].shape[1:])} became [{wide}]")
    if kind in ("logits", "linear", "unknown"):
        logits = outputs
    elif seen == kind or (head == "auto" and not guessed):
        logits = _rebuilt(outputs)
        words = "exactly, by building its head again without it"
        if logits is None:
            logits, words = _by_log(outputs, kind), "by a logarithm, for its head cannot be built again"
        changes.append(f"its {seen} was taken off {words}")
    else:
        logits = _by_log(outputs, kind)
        told = "as its outputs for random images show" if guessed else "as told"
        changes.append(f"its {kind}, {told}, was taken off by a logarithm, for the graph does not show it")
    if wide == 1:
        logits = keras.layers.ZeroPadding1D((1, 0), name="two_logits")(keras.layers.Reshape((1, 1))(logits))
        logits = keras.layers.Reshape((2,), name="logits_of_two")(logits)
        changes.append("its one output z became two logits (0, z)")
    elif kind == "sigmoid":
        changes.append("its sigmoids of separate classes are read as one softmax over them")
    if logits is net.outputs[0]:
        return net
    made = keras.Model(net.inputs[0], logits, name=net.name)
    _compare(net, made, kind)
    return made


def _guess(net: keras.Model, seen: str) -> str:
    """What outputs for random images look like where the graph shows nothing: "softmax", "sigmoid" or ""."""
    if seen != "unknown":
        return ""
    try:
        outputs = np.asarray(net(random_images(net, _LOOKED_AT), training=False), np.float64)
    except Exception:
        return ""
    if not outputs.size:
        return ""
    if outputs.ndim == 2 and are_probabilities(outputs):
        return "softmax"
    if not 0 <= outputs.min() < outputs.max() <= 1:
        return ""
    if outputs.shape[-1] == 1:  # small logits look alike
        raise ValueError(
            "expected to know what the net's one output is, received numbers in [0, 1] from a layer that no graph "
            "shows; set head to sigmoid, or to logits"
        )
    return "sigmoid"


def _by_log(outputs: Any, kind: str) -> Any:
    """log p of a softmax; log p - log(1 - p) of a sigmoid; a log-softmax as it is."""
    if kind in ("log_softmax", "log_sigmoid"):
        return outputs
    p = keras.ops.cast(outputs, "float32")
    logits = keras.ops.log(keras.ops.maximum(p, _TINY))
    if kind == "sigmoid":
        logits = logits - keras.ops.log(keras.ops.maximum(1.0 - p, _TINY))
    return logits


def _rebuilt(tensor: Any) -> Any | None:
    """What the tensor would be without the last activation on its way; None where a layer cannot be made again."""
    operation, place, which = tensor._keras_history
    node = operation._inbound_nodes[place]
    kind = type(operation).__name__
    sources = node.input_tensors
    if hasattr(operation, "layers") and getattr(operation, "outputs", None):
        inner = _rebuilt(operation.outputs[which])
        if inner is None:
            return None
        return keras.Model(operation.inputs, inner, name=operation.name)(sources[0] if len(sources) == 1 else sources)
    if kind == "Softmax" and isinstance(operation, keras.layers.Layer):
        mask = node.arguments.kwargs.get("mask")
        logits = sources[0]
        if mask is None:
            return logits
        if str(keras.backend.standardize_dtype(mask.dtype)) != "bool":
            mask = keras.ops.greater(mask, 0.5)
        return keras.ops.where(mask, logits, _MASKED)
    if kind in ("Softmax", "Sigmoid", "LogSoftmax", "LogSigmoid", "HardSigmoid"):
        return sources[0]
    activation = getattr(operation, "activation", None)
    if kind == "Activation" and getattr(activation, "__name__", "") != "linear":
        return sources[0]
    if activation is not None and getattr(activation, "__name__", "") != "linear":
        try:
            config = {**operation.get_config(), "activation": "linear"}
            made = type(operation).from_config(config)
            logits = made(sources[0])
            made.set_weights(operation.get_weights())
        except Exception:
            return None
        return logits
    inner = _rebuilt(sources[0])
    return None if inner is None else operation(inner)


def _run(net: keras.Model, x: Any) -> Any:
    """The net's output for a float tensor, over its own layers, whatever type of input it asks for."""
    given = keras.backend.standardize_dtype(net.inputs[0].dtype)
    if given.startswith("float"):
        return net(x)
    # Called as it is, a net of integers would round its input, through which no gradient goes.
    floats = keras.Input(net.input_shape[1:])
    return keras.models.clone_model(net, input_tensors=floats, clone_function=lambda layer: layer)(x)


def _scaling(pixels: str, mean: Any, std: Any, channels: int) -> tuple[Any, Any]:
    """scale and offset of x * scale + offset, numbers or lists; (None, None) where nothing changes."""
    scale, offset = _SCALES[pixels]
    means, stds = (_each(name, value, channels) for name, value in (("mean", mean), ("std", std)))
    if any(not s > 0 for s in stds or ()):
        raise ValueError(f"expected std > 0, received {std!r}")
    if means is None and stds is None:
        return (None, None) if pixels == "0..1" else (scale, offset)
    means, stds = means or [0.0] * channels, stds or [1.0] * channels
    return [scale / s for s in stds], [(offset - m) / s for m, s in zip(means, stds, strict=True)]


def _each(name: str, value: Any, channels: int) -> list[float] | None:
    if value is None:
        return None
    try:
        values = [float(v) for v in np.ravel(value)]
    except (TypeError, ValueError):
        values = []
    if len(values) not in (1, channels) or not all(map(math.isfinite, values)):
        raise ValueError(f"expected {name}, one number or {channels}, one for each channel, received {value!r}")
    return values * channels if len(values) == 1 else values


def _said(pixels: str, mean: Any, std: Any) -> str:
    parts = [] if pixels == "0..1" else [f"pixels of [0, 1] are scaled to {pixels}"]
    if mean is not None or std is not None:
        parts.append(f"normalised by mean {mean if mean is not None else 0} and std {std if std is not None else 1}")
    return " and ".join(parts)


def _compare(net: keras.Model, made: keras.Model, kind: str) -> None:
    """Raises ValueError unless the logits give back the net's outputs on random images."""
    x = random_images(net, _LOOKED_AT)
    before, logits = (np.asarray(one(x, training=False), np.float64) for one in (net, made))
    before = before.reshape(len(x), -1)
    if before.shape[1] == 1:
        logits = logits[:, 1:] - logits[:, :1]
    low = logits - logits.max(-1, keepdims=True)
    log_p = low - np.log(np.exp(low).sum(-1, keepdims=True))
    after = {"softmax": np.exp(log_p), "log_softmax": log_p, "sigmoid": scipy.special.expit(logits)}.get(kind)
    if kind == "softmax" and are_probabilities(before):
        before = before / before.sum(-1, keepdims=True)  # some nets multiply it
    if after is not None:
        same_outputs(before, after, _CLOSE, f"the net without its {kind}", f"its head may be no {kind}")
