"""Labelled images to evaluate on."""

import os
import re
import warnings
from typing import Any, NamedTuple

import numpy as np

from jeat_tf.data.datasets import as_floats, is_file, open_dataset
from jeat_tf.data.image_data import ImageData, StoredImages, digest

_ENOUGH = 5  # images of each class, on average, of which none lacks by chance


class Pixels:
    """Images as float32 in [0, 1] on demand, held as they were given; index it by slices or arrays of indices."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> np.ndarray:
        return as_floats(self.images[index])


class LabelledImages(NamedTuple):
    """Images with their labels.

    Attributes:
      name: of the data set, or the file.
      origin: description of which of its images these are.
      images: N images.
      labels: int64[N].
      class_names: of the data set; empty where only the labels are known.
    """

    name: str
    origin: str
    images: Pixels
    labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int | None:
        return len(self.class_names) or None

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.images.shape[1:]

    def part(self, which: range) -> "LabelledImages":
        """Some of the images, one after the other, under the same name and origin."""
        chosen = slice(which.start, which.stop)
        return self._replace(images=Pixels(self.images.images[chosen]), labels=self.labels[chosen])

    def sha256(self) -> str:
        """Digest of images and labels."""
        return digest(self.images.images, self.labels)


def open_labelled(
    name: str | os.PathLike,
    split: str,
    *,
    count: int = 0,
    data_dir: str | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
) -> LabelledImages:
    """The first `count` images of a split, or of a file or folder of images that has no splits.

    Args:
      name: a data set as `open_dataset` takes it.
      split: of the data set; a file or folder of one set of images is that set, whatever the split is called.
      count: how many; 0: all.
      data_dir: see `open_dataset`.
      download: see `open_dataset`.
      image_size: see `open_dataset`.

    Raises:
      ValueError: no such data set or split, an unreadable file, bad images or labels, or fewer than `count` images.
      FileNotFoundError: the data set is not prepared, or there is no such file.
    """
    data = open_dataset(name, data_dir, download=download, image_size=image_size)
    return first_of_split(data, split, count=count)


def first_of_split(data: ImageData, split: str, *, count: int = 0) -> LabelledImages:
    """The first `count` images of a split of an open data set; see `open_labelled`.

    Raises:
      ValueError: no such split, or fewer than `count` images.
    """
    where, one_set = split, set(data.splits) == {"train"} and isinstance(data, StoredImages)
    if one_set:
        place = "the file" if is_file(data.place) else "the folder"
        where = f"{split} of {place}" if "[" in split else place
        split = "+".join(re.sub(r"^\w*", "train", part) for part in split.split("+"))
    total = data.size(split)
    if not 0 <= count <= total:
        raise ValueError(f"expected --num_images in 0..{total}, the images of {where}, received {count}")
    count = count or total
    order = "one fixed random order" if os.path.isdir(getattr(data, "place", "")) else "file order"
    if isinstance(data, StoredImages):
        images, labels = data.arrays(split)
        seen, there = (len(np.unique(some)) for some in (labels[:count], labels))
        if seen < there and count >= _ENOUGH * there:
            warnings.warn(
                f"the first {count} of the {total} images of {where} are of {seen} of its {there} classes, because it "
                "lies class by class; shuffle it, or take all images by --num_images=0",
                stacklevel=2,
            )
    else:
        examples = list(data.split(split).take(count).as_numpy_iterator())
        images, labels = np.stack([x for x, _ in examples]), np.stack([y for _, y in examples])
    return LabelledImages(
        name=data.name,
        origin=f"images 0 to {count - 1} of the {total} of {where}, in {order}",
        images=Pixels(images[:count]),
        labels=labels[:count].astype(np.int64),
        class_names=data.class_names if data.named else (),
    )
