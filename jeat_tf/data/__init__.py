"""Data: TFDS data sets, checks, augmentation, and the training stream."""

from jeat_tf.data.augment import AUGMENTATIONS, usual_augmentation
from jeat_tf.data.checks import check_images, check_labels
from jeat_tf.data.datasets import ImageData, as_floats, open_dataset, split_names
from jeat_tf.data.labelled import LabelledImages, Pixels, open_labelled
from jeat_tf.data.stream import evaluation_batches, own_share, training_stream

__all__ = [
    "AUGMENTATIONS",
    "ImageData",
    "LabelledImages",
    "Pixels",
    "as_floats",
    "check_images",
    "check_labels",
    "evaluation_batches",
    "open_dataset",
    "open_labelled",
    "own_share",
    "split_names",
    "training_stream",
    "usual_augmentation",
]
