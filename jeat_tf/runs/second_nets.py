"""Nets beside the one that a report is about: judges, feature nets, nets that attacks are transferred from."""

from typing import Any, NamedTuple

import keras
import numpy as np

from jeat_tf.core.guessing import accuracy_of_guessing, is_guessing
from jeat_tf.core.records import record
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import LabelledImages, Pixels
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.models.origin import Origin
from jeat_tf.runs.trained import check_fit

_LOOKED_AT = 1000  # real images
_BATCH = 100


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


def open_second(path: str, flag: str, data: ImageData | LabelledImages, images: Any, labels: np.ndarray) -> Opened:
    """Reads a net and looks at how well it knows real images.

    Args:
      path: its .keras file.
      flag: that named it, for messages.
      data: the images that it has to fit.
      images: float32[N, H, W, C] in [0, 1], or anything that gives such arrays for arrays of indices.
      labels: int[N].

    Raises:
      ValueError: not a readable net, one for other images or classes, or one that is no better than guessing.
    """
    try:
        read = Origin().read(path)
        check_fit(read.net, data.name, data.image_shape, data.num_classes)
    except ValueError as error:
        raise ValueError(f"--{flag}={path}: {error}") from error
    chosen = np.linspace(0, len(labels) - 1, min(_LOOKED_AT, len(labels))).astype(int)
    batches = np.array_split(chosen, -(-len(chosen) // _BATCH))
    seen = np.concatenate([np.argmax(read.net(images[batch], training=False), axis=-1) for batch in batches])
    known = np.asarray(labels)[chosen]
    accuracy = float(np.mean(seen == known))
    if is_guessing(accuracy, known):
        raise ValueError(
            f"expected a net that knows the classes of {data.name} in --{flag}={path}, received one that classifies "
            f"{accuracy:.0%} of {len(chosen)} real images correctly, where naming one class gives "
            f"{accuracy_of_guessing(known):.0%}; check its classes and how it wants images, or take another net"
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
