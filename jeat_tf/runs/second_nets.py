"""Nets beside the one that a report is about: judges, feature nets, teachers, nets to transfer attacks from."""

from typing import Any, NamedTuple

import keras
import numpy as np

from jeat_tf.attacks.misfits import scales
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.guessing import accuracy_of_guessing, is_guessing
from jeat_tf.core.records import record
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import LabelledImages, Pixels
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.models.origin import named_net
from jeat_tf.runs.fit import check_fit

_LOOKED_AT = 1000  # real images
_BATCH = 100
_ON_SCALES = 512  # real images that are looked at on other scales too
_BELIEVED = 0.97  # accuracy of a net that needs no such look
_KNOWS = 0.25  # share of what guessing gets wrong: a net that knows less is better on a scale by chance


@record
class SecondNet:
    """What is known of a net beside the one that a report is about.

    Attributes:
      model: its file.
      weights_sha256: digest of its weights.
      changes: what was done to the net to get it, one sentence each.
      accuracy: share of real images that it classifies correctly.
      images: how many these are, spread over the data.
    """

    model: str
    weights_sha256: str
    changes: tuple[str, ...] = ()
    accuracy: float
    images: int


class Opened(NamedTuple):
    """A second net, and what a report says of it."""

    net: keras.Model
    found: SecondNet


def open_second(
    text: str,
    flag: str,
    data: ImageData | LabelledImages,
    images: Any,
    labels: np.ndarray,
    *,
    any_accuracy: bool = False,
) -> Opened:
    """Reads a net and looks at how well it knows real images.

    Args:
      text: its path, perhaps with settings of `Origin` behind it, as "net.keras:pixels=0..255,head=softmax".
      flag: name of the flag that named it, for messages.
      data: the data set that it has to fit.
      images: float32[N, H, W, C] in [0, 1], or anything that gives such arrays for arrays of indices.
      labels: int[N].
      any_accuracy: accept a net of any accuracy.

    Raises:
      ValueError: not a readable net, one for other images or classes, one that is no better than guessing, or one
        without settings that clearly does better on another scale of pixels.
    """
    try:
        named = named_net(text)
        read = named.read()
        check_fit(read.net, data.name, data.image_shape, data.num_classes)
    except ValueError as error:
        raise ValueError(f"--{flag}={text}: {error}") from error
    path = named.path
    chosen = np.linspace(0, len(labels) - 1, min(_LOOKED_AT, len(labels))).astype(int)
    batches = np.array_split(chosen, -(-len(chosen) // _BATCH))
    seen = np.concatenate([np.argmax(read.net(images[batch], training=False), axis=-1) for batch in batches])
    known = np.asarray(labels)[chosen]
    accuracy = float(np.mean(seen == known))
    if named.origin is None and accuracy <= _BELIEVED and not any_accuracy:
        few = chosen[:: -(-len(chosen) // _ON_SCALES)]
        found = scales(Oracle(inference(read.net)), np.asarray(images[few]), np.asarray(labels)[few])
        guessed = accuracy_of_guessing(np.asarray(labels)[few])
        if found.better and max(found.accuracy.values()) > guessed + _KNOWS * (1.0 - guessed):
            words = ",".join(f"{name}={value}" for name, value in found.better.items())
            shares = ", ".join(f"{share:.0%} on {scale}" for scale, share in found.accuracy.items())
            raise ValueError(
                f"expected a net of images in [0, 1] in --{flag}={path}, received one that is right on another scale "
                f"(accuracy {shares}); give --{flag}={path}:{words}, or {path}:pixels=0..1 to use it as it is"
            )
    if is_guessing(accuracy, known) and not any_accuracy:
        raise ValueError(
            f"expected a net that knows the classes of {data.name} in --{flag}={path}, received one that classifies "
            f"{accuracy:.0%} of {len(chosen)} real images correctly, where naming one class gives "
            f"{accuracy_of_guessing(known):.0%}; check its classes, say how it wants images as in "
            f"{path}:pixels=0..255, or take another net"
        )
    return Opened(
        read.net,
        SecondNet(
            model=net_file(path),
            weights_sha256=weights_sha256(read.net),
            changes=read.changes,
            accuracy=accuracy,
            images=len(chosen),
        ),
    )


def open_second_of(path: str, flag: str, data: ImageData) -> Opened:
    """`open_second`, on the test images of a data set; on its training images where there are no others."""
    images, labels = data.arrays("test" if "test" in data.splits else "train")
    return open_second(path, flag, data, Pixels(images), labels)
