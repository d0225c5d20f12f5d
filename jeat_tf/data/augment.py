"""Label-preserving changes of a training image: (image, seed) -> image."""

import re

import tensorflow as tf

from jeat_tf.core.seeds import split
from jeat_tf.core.types import Seed
from jeat_tf.data.stream import Augment


def crop(image: tf.Tensor, seed: Seed, *, padding: int = 4, mode: str = "REFLECT") -> tf.Tensor:
    """A random window, of the image's own size, of the image padded by reflection, as in JEM, or by another mode."""
    padded = tf.pad(image, [[padding, padding], [padding, padding], [0, 0]], mode=mode)
    return tf.image.stateless_random_crop(padded, tf.shape(image), seed)


def crop_and_flip(image: tf.Tensor, seed: Seed, *, mode: str = "REFLECT") -> tf.Tensor:
    """`crop`, then left and right exchanged in half of all cases: the usual CIFAR augmentation."""
    crop_seed, flip_seed = split(seed)
    return tf.image.stateless_random_flip_left_right(crop(image, crop_seed, mode=mode), flip_seed)


def zero_crop_and_flip(image: tf.Tensor, seed: Seed) -> tf.Tensor:
    """`crop_and_flip` of the image padded by zeros, as in the code of TRADES, Fast, Free, AWP and WEAT."""
    return crop_and_flip(image, seed, mode="CONSTANT")


AUGMENTATIONS: dict[str, Augment | None] = {
    "none": None,
    "crop": crop,
    "crop_flip": crop_and_flip,
    "zero_crop_flip": zero_crop_and_flip,
}


def usual_augmentation(dataset: str) -> str:
    """The name of what published systems use: crop and flip for CIFAR, crop alone for SVHN, else nothing."""
    if re.fullmatch(r"cifar\d+\w*(/\w+)?", dataset):
        return "crop_flip"
    return "crop" if re.fullmatch(r"svhn\w*", dataset) else "none"
