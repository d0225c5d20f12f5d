from .augment import AUGMENTATIONS, usual_augmentation
from .datasets import ImageData, as_floats, open_dataset, split_names
from .labelled import LabelledImages, Pixels, open_labelled
from .stream import evaluation_batches, own_share, training_stream

__all__ = [
    "AUGMENTATIONS",
    "ImageData",
    "LabelledImages",
    "Pixels",
    "as_floats",
    "evaluation_batches",
    "open_dataset",
    "open_labelled",
    "own_share",
    "split_names",
    "training_stream",
    "usual_augmentation",
]
