"""Whether a net gives logits: told by its last activation where it can be seen, and by outputs always."""

import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from jeat_tf.core.checks import check_taken

_ACTIVATIONS = {
    "softmax": "softmax",
    "sparsemax": "sparsemax",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "sigmoid",
    "log_softmax": "log_softmax",
    "log_sigmoid": "log_sigmoid",
    "Softmax": "softmax",
    "Sparsemax": "sparsemax",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "sigmoid",
    "LogSoftmax": "log_softmax",
    "LogSigmoid": "log_sigmoid",
}  # of layers by their name, of layers and operations by their class
_NEUTRAL = ("Identity", "Dropout", "Reshape", "Flatten", "Cast", "Squeeze", "Permute")
_ROUNDING = 1e-2  # of a sum of probabilities in bfloat16, many times over
_REMEDY = "remove it by jt.as_logits(net)"


class Head(NamedTuple):
    """The last operation of a net that changes numbers.

    Attributes:
      activation: "softmax", "sparsemax", "sigmoid", "log_softmax", "log_sigmoid", "linear", or "unknown" where it
        cannot be seen.
      layer: its name.
    """

    activation: str
    layer: str


def head_of(net: Any) -> Head:
    """What a net ends in, by its graph; "unknown" for a subclassed net, a SavedModel or a function."""
    outputs = getattr(net, "outputs", None)
    if not outputs or len(outputs) != 1:
        return Head("unknown", "")
    return _head(outputs[0])


def check_head(net: Any, what: str = "net") -> None:
    """Raises ValueError where a net ends in a softmax or a sigmoid, or takes integers, as far as its graph shows it.

    Args:
      net: anything; a Keras net that is functional or Sequential is looked into.
      what: plural or singular noun for the message, e.g. "judge".
    """
    for images in getattr(net, "inputs", None) or ():
        if "int" in (dtype := str(images.dtype)):
            raise ValueError(
                f"expected a {what} of float images, received one of {dtype}, which rounds images in [0, 1]; "
                'jt.as_logits(net, pixels="0..255") takes floats'
            )
    head = head_of(net)
    if head.activation not in ("linear", "unknown"):
        raise ValueError(
            f'expected a {what} that gives logits, received one that ends in {head.activation} ("{head.layer}"); '
            f"{_REMEDY}"
        )


def check_itself(net: Any) -> None:
    """Raises ValueError where something that holds a net is given in its place, or a net of Keras 2."""
    families = {f"{kind.__module__}.{kind.__name__}" for kind in type(net).__mro__}
    if any(name.endswith(".GatedModel") for name in families):
        raise ValueError(f"expected a net, received {type(net).__name__}, which holds one; pass its attribute net")
    if any(name.startswith("tf_keras.") for name in families):
        raise ValueError(
            "expected a net of Keras 3, received one of Keras 2 (tf_keras); save it by net.save('net.h5'), and read it "
            "by jeat_tf.models.files.load_net('net.h5')"
        )


def in_one_line(error: BaseException) -> str:
    """What an error says, without the paragraphs and colours that Keras puts around it."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        lines = lines[1:]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def check_output(outputs: Any, what: str = "net", *, least: int = 2) -> None:
    """Raises ValueError unless a net's outputs are one tensor [B, K] with K >= `least`; looks at shapes alone."""
    if isinstance(outputs, (dict, list, tuple)):
        named = isinstance(outputs, dict)
        received = ", ".join(map(str, outputs)) if named else f"{len(outputs)} outputs"
        raise ValueError(
            f"expected a {what} with one output, logits [B, K], received {received}; choose one, e.g. "
            f"jt.as_logits(net, output={(next(iter(outputs)) if named else 0)!r})"
        )
    shape = list(np.shape(outputs) if isinstance(outputs, np.ndarray) else outputs.shape)
    if len(shape) == 2 and shape[1] == 1 < least:
        raise ValueError(
            f"expected logits of shape [B, K] with K >= 2, received shape {shape}: one output for two classes; "
            "jt.as_logits(net) makes two logits of it"
        )
    if len(shape) != 2 or shape[1] is None or shape[1] < least:
        raise ValueError(f"expected logits of shape [B, K] with K >= {least}, received shape {shape}")


def check_logits(logits: Any, *, energies: bool = False, what: str = "net") -> None:
    """Raises ValueError unless outputs are finite logits float[N, K] and not probabilities.

    Outputs that all lie in [0, 1] without being probabilities of one class are a sigmoid's, or very small logits: they
    give a warning.

    Args:
      logits: a net's outputs for clean images.
      energies: whether E(x) = -logsumexp is needed. Outputs of a log-softmax are then refused, because their E(x) is
        always 0, and one output is enough. Otherwise at least two classes are needed.
      what: noun for messages, e.g. "judge".
    """
    check_output(logits, what, least=1 if energies else 2)
    logits = np.asarray(logits).astype(np.float64)
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits, received NaN or infinity for images as they are")
    if not len(logits):
        return
    if are_probabilities(logits):
        raise ValueError(
            f"expected logits, received probabilities (outputs are not negative and sum to {logits.sum(-1).mean():.3g}"
            "): attacks on them look "
            "weaker than they are, because gradients vanish where softmax saturates, and energies mean nothing; "
            f"{_REMEDY}"
        )
    if energies and logits.max() <= 0 and np.abs(np.log(np.exp(logits).sum(axis=-1))).max() < _ROUNDING:
        raise ValueError(
            "expected logits, received log-probabilities (their exponentials sum to 1): E(x) = -logsumexp is 0 for "
            f"every image; {_REMEDY}"
        )
    if 0 <= logits.min() < logits.max() <= 1:
        warnings.warn(
            f"all outputs of the {what} lie in [0, 1] ({logits.min():.3g} to {logits.max():.3g}): they look like a "
            "sigmoid's and not like logits, and attacks on them look weaker than they are; jt.as_logits(net, "
            'head="sigmoid") removes a sigmoid',
            stacklevel=3,
        )


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether outputs float[N, K] come from a softmax, perhaps times a factor that is the same for all images."""
    if outputs.shape[-1] < 2 or outputs.min() < 0:
        return False
    sums = outputs.sum(axis=-1)
    scale = sums.mean()
    same = np.abs(sums - scale).max() < _ROUNDING * scale
    varied = np.ptp(outputs, axis=0).max() > _ROUNDING * scale  # otherwise they may be logits of a net that has none
    return bool(same and (abs(scale - 1) < _ROUNDING or varied))


def check_callable(net: Any) -> None:
    """Raises TypeError where what is given as a net is none."""
    if not callable(net):
        raise TypeError(
            "expected a net, a Keras model or a function of images that gives logits, received "
            f"{type(net).__name__}; load a file by keras.saving.load_model"
        )


def look_at_outputs(net: Any, images: Any, *, energies: bool = True, what: str = "net") -> np.ndarray:
    """Logits float[B, K] of a few images float32[B, H, W, C], after `check_head` of the net and `check_logits` of them.

    Args:
      net: a Keras net, or any function of images, `training` and nothing else.
    """
    check_callable(net)
    check_head(net, what)
    check_taken(net, np.asarray(images))
    outputs = net(images, training=False)
    check_logits(outputs, energies=energies, what=what)
    return np.asarray(outputs)


def _head(tensor: Any) -> Head:
    """The head of the graph that ends in a Keras tensor."""
    operation, node, _ = getattr(tensor, "_keras_history", (None, None, None))
    if operation is None:
        return Head("unknown", "")
    kind = type(operation).__name__
    inner = getattr(operation, "outputs", None)
    if inner and hasattr(operation, "layers"):
        return _head(inner[0]) if len(inner) == 1 else Head("unknown", operation.name)
    activation = getattr(operation, "activation", None)
    if kind in _ACTIVATIONS:
        return Head(_ACTIVATIONS[kind], operation.name)
    if activation is not None:
        name = getattr(activation, "__name__", type(activation).__name__)
        if name in _ACTIVATIONS:
            return Head(_ACTIVATIONS[name], operation.name)
        if name != "linear":
            return Head("linear" if kind in ("Dense", "Activation") else "unknown", operation.name)
    sources = operation._inbound_nodes[node].input_tensors
    if (kind in _NEUTRAL or kind == "Activation") and len(sources) == 1:
        return _head(sources[0])
    if kind in ("Lambda", "TFSMLayer", "TorchModuleWrapper"):
        return Head("unknown", operation.name)
    return Head("linear" if hasattr(operation, "kernel") else "unknown", operation.name)
