from .arrays import from_arrays
from .augment import AUGMENTATIONS, usual_augmentation
from .datasets import as_floats, open_dataset, open_unlabelled, split_names
from .image_data import ImageData, Unlabelled
from .labelled import LabelledImages, Pixels, open_labelled
from .stream import evaluation_batches, own_share, training_stream

__all__ = [
    "AUGMENTATIONS",
    "ImageData",
    "LabelledImages",
    "Pixels",
    "Unlabelled",
    "as_floats",
    "evaluation_batches",
    "from_arrays",
    "open_dataset",
    "open_labelled",
    "open_unlabelled",
    "own_share",
    "split_names",
    "training_stream",
    "usual_augmentation",
]
