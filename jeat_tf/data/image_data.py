"""What a data set of labelled images is, wherever it lies: in TFDS, in a folder of images, or in arrays."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from jeat_tf.core.types import ImagesAndLabels


class ImageData:
    """A classification data set that is ready to be read.

    Attributes:
      name: of the TFDS builder with its config, or the path.
      place: folder or file that holds it.
      image_shape: (H, W, C).
      class_names: one for each class, in label order.
      named: whether the classes are known by name; otherwise there may be more than the labels that occur.
    """

    name: str
    place: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    named: bool = True

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def splits(self) -> Mapping[str, int]:
        """Name of each split -> its number of images."""
        raise NotImplementedError

    def split(self, split: str) -> tf.data.Dataset:
        """Elements (image uint8 or float32[H, W, C], label int64[]), always in the same order."""
        raise NotImplementedError

    def size(self, split: str) -> int:
        """Number of examples of a split, or of a sub-split such as "train[:10%]".

        Raises:
          ValueError: no such split.
        """
        return sum(part.stop - part.start for _, part in self.parts(split))

    def parts(self, split: str) -> list[tuple[str, range]]:
        """The names and rows that a split such as "train[:10%]+test" means.

        Raises:
          ValueError: no such split.
        """
        if unknown := {part.split("[")[0] for part in split.split("+")} - set(self.splits):
            only = "; give --split=train, or test images by --dataset" if set(self.splits) == {"train"} else ""
            raise ValueError(
                f'data set {self.name} in {self.place} has no split "{min(unknown)}"; it has '
                f"{sorted(self.splits)}{only}"
            )
        infos = {
            name: tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
            for name, size in self.splits.items()
        }
        try:
            instructions = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
        except (ValueError, AssertionError) as error:
            raise ValueError(f'expected a split such as train or train[:10%], received "{split}": {error}') from error
        return [
            (part.splitname, range(part.from_ or 0, self.splits[part.splitname] if part.to is None else part.to))
            for part in instructions
        ]

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The whole split in memory: images uint8 or float32[N, H, W, C] and labels int64[N].

        Raises:
          ValueError: no such split, or no images in it.
        """
        if not self.size(split):
            raise ValueError(f"expected images in the split {split} of {self.name}, received none")
        batches = list(self.split(split).batch(1024).as_numpy_iterator())
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


class StoredImages(ImageData):
    """Images that are held in memory."""

    def __init__(
        self,
        name: str,
        splits: Mapping[str, ImagesAndLabels],
        class_names: tuple[str, ...] = (),
        *,
        place: str = "memory",
    ):
        """
        Args:
          name: in messages and records.
          splits: split -> images uint8, or float32 in [0, 1], [N, H, W, C] and labels int64[N].
          class_names: one for each class; empty: the numbers of the labels.
          place: folder or file that they come from.
        """
        self.name, self.place = name, place
        self.held = dict(splits)
        count = 1 + max(int(labels.max()) for _, labels in self.held.values() if len(labels))
        self.class_names, self.named = class_names or tuple(map(str, range(count))), bool(class_names)
        height, width, channels = next(iter(self.held.values()))[0].shape[1:]
        self.image_shape = (height, width, channels)

    @property
    def splits(self) -> Mapping[str, int]:
        return {name: len(labels) for name, (_, labels) in self.held.items()}

    def split(self, split: str) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(self.arrays(split))

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        if not self.size(split):
            raise ValueError(f"expected images in the split {split} of {self.name}, received none")
        parts = [(self.held[name], slice(rows.start, rows.stop)) for name, rows in self.parts(split)]
        return (
            np.concatenate([images[rows] for (images, _), rows in parts]),
            np.concatenate([labels[rows] for (_, labels), rows in parts]),
        )


class TfdsImages(ImageData):
    """A prepared TFDS builder."""

    def __init__(self, builder: tfds.core.DatasetBuilder, keys: tuple[str, str], size: tuple[int, int] | None):
        """
        Args:
          builder: prepared.
          keys: features read as image and label.
          size: (H, W) that images are resized to; None leaves them as they are.
        """
        self.builder, self._keys, self._size = builder, keys, size
        config = builder.builder_config
        self.name = builder.name if config is None else f"{builder.name}/{config.name}"
        self.place = str(builder.data_path)
        height, width, channels = builder.info.features[keys[0]].shape
        self.image_shape = (*(size or (height, width)), channels)
        self.class_names = tuple(builder.info.features[keys[1]].names)

    @property
    def splits(self) -> Mapping[str, int]:
        return {name: split.num_examples for name, split in self.builder.info.splits.items()}

    def split(self, split: str) -> tf.data.Dataset:
        image, label = self._keys
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        examples = self.builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        size = self._size
        return examples.map(lambda e: (e[image] if size is None else resized(e[image], size), e[label]))


class Unlabelled(NamedTuple):
    """Images alone.

    Attributes:
      name: as `ImageData.name`.
      images: uint8, or float32 in [0, 1], [N, H, W, C].
    """

    name: str
    images: np.ndarray


def resized(image: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """An image, or a batch of them, of that height and width: bilinear and smoothed where it shrinks, type kept."""
    made = tf.image.resize(image, size, antialias=True)
    return tf.cast(tf.round(made) if image.dtype.is_integer else made, image.dtype)


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """SHA-256 of images and labels."""
    found = hashlib.sha256(str(images.dtype).encode())
    found.update(np.ascontiguousarray(images).tobytes())
    found.update(np.ascontiguousarray(labels).tobytes())
    return found.hexdigest()
