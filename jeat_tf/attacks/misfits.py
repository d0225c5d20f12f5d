"""Signs that a net and the images it is given do not belong together."""

import warnings
from typing import Any, NamedTuple

import keras
import numpy as np

from jeat_tf.attacks.gradient_masking import Finding
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.search import predictions
from jeat_tf.core.guessing import accuracy_of_guessing, is_guessing

_LOOKED_AT = 512  # images
_BATCH = 64
_POINTS = 0.03  # of accuracy: a smaller difference is not reported
_COUNT = 2  # images: nor is one of fewer


class Scales(NamedTuple):
    """How well a net does on images in [0, 1], and on other scales of their pixels.

    Attributes:
      right: bool[N], the images that it classifies correctly as they are.
      accuracy: name of the scale -> share that it classifies correctly.
      better: settings of `Origin` for the scale on which it clearly does better, such as {"pixels": "0..255"}; empty
        where there is none.
    """

    right: np.ndarray
    accuracy: dict[str, float]
    better: dict[str, str]


def scales(oracle: Oracle, x: Any, labels: np.ndarray) -> Scales:
    """Looks at a net on several scales of pixels.

    Args:
      oracle: the net.
      x: float32[N, H, W, C] in [0, 1]; all are looked at.
      labels: int[N].
    """
    mean, std = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)) + 1e-6
    channels = [",".join(f"{value:.3g}" for value in values) for values in (mean, std)]
    others: dict[str, tuple[np.ndarray, dict[str, str]]] = {
        "[-1, 1]": (2 * x - 1, {"pixels": "-1..1"}),
        "0-255": (255 * x, {"pixels": "0..255"}),
        "mean 0 and standard deviation 1": ((x - mean) / std, {"mean": channels[0], "std": channels[1]}),
    }
    right = _right(oracle, x, labels)
    of_others = {name: _right(oracle, images, labels) for name, (images, _) in others.items()}
    best = max(of_others, key=lambda name: of_others[name].sum())
    more = int(of_others[best].sum()) - int(right.sum())
    # Of a net that guesses on either scale, chance makes the difference: it grows as the root of what differs.
    clear = more**2 >= 2 * int(np.sum(of_others[best] != right)) and more >= max(_COUNT, _POINTS * len(x))
    accuracy = {"[0, 1]": float(right.mean())} | {name: float(found.mean()) for name, found in of_others.items()}
    return Scales(right, accuracy, others[best][1] if clear else {})


def misfits(oracle: Oracle, x: Any, labels: np.ndarray) -> list[Finding]:
    """Whether a net does better on another scale of pixels, and whether it does no better than guessing.

    Args:
      oracle: the net.
      x: float32[N, H, W, C] in [0, 1], or anything that gives such arrays for arrays of indices; 512 are looked at.
      labels: int[N].
    """
    chosen = np.linspace(0, len(labels) - 1, min(_LOOKED_AT, len(labels))).astype(int)  # data may lie class by class
    x, labels = np.asarray(x[chosen]), np.asarray(labels)[chosen]
    found = scales(oracle, x, labels)
    right = found.right
    detail = "accuracy " + ", ".join(f"{value:.0%} on {name}" for name, value in found.accuracy.items())
    if found.better:
        flags = " ".join(f"--{name}={text}" for name, text in found.better.items())
        detail += (
            f"; if it was trained so, jt.as_logits(net, {_in_python(found.better)}) puts that inside; on the command "
            f"line it is {flags}"
        )
    guess = f"{right.mean():.0%} of {len(x)} images are classified correctly"
    guessing = is_guessing(float(right.mean()), labels)
    if guessing:
        guess += (
            f", and naming one class gives {accuracy_of_guessing(labels):.0%}: check the order of the classes and of "
            "the channels, and the preparation of the images"
        )
    return [
        Finding("normalisation outside the net", bool(found.better), detail),
        Finding("no better than guessing", guessing, guess),
    ]


def warn_of_misfits(oracle: Oracle, x: Any, labels: np.ndarray, accuracy: float = 0.0, *, stacklevel: int = 4) -> None:
    """Gives a warning for each of `misfits` that fired.

    Args:
      oracle, x, labels: as in `misfits`.
      accuracy: of the net on these images, where it is known; a net that is nearly always right is not looked at.
      stacklevel: of `warnings.warn`, at which the user's own call is.
    """
    if accuracy > 1 - _POINTS:
        return
    for finding in misfits(oracle, x, labels):
        if finding.fired:
            warnings.warn(f"{finding.name}: {finding.detail}", stacklevel=stacklevel)


def warn_of_precision(net: Any) -> None:
    """Gives a warning where a Keras net computes in float16, whose small gradients are 0: attacks look weaker."""
    layers = net._flatten_layers() if isinstance(net, keras.Model) else ()
    if any(layer.compute_dtype == "float16" for layer in layers):
        warnings.warn(
            "the net computes in float16, in which small gradients become 0 and attacks look weaker than they are; "
            "attack jt.as_logits(net), which computes in float32",
            stacklevel=5,
        )


def _in_python(settings: dict[str, str]) -> str:
    return ", ".join(
        f'{name}="{text}"' if name == "pixels" else f"{name}=[{text.replace(',', ', ')}]"
        for name, text in settings.items()
    )


def _right(oracle: Oracle, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool[N], the images that the net sees as their class."""
    batches = np.array_split(x, -(-len(x) // _BATCH))
    return np.concatenate([predictions(oracle, batch).argmax(-1) for batch in batches]) == labels
