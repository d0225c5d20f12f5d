"""Labelled images to evaluate on, from a TFDS data set or from an .npz file."""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from jeat_tf.core.checks import check_images, check_labels
from jeat_tf.core.files import read_arrays
from jeat_tf.data.datasets import as_floats, open_dataset


class Pixels:
    """Images as float32 in [0, 1] on demand, held as they were given; index it by slices or arrays of indices."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> np.ndarray:
        images = self.images[index]
        return as_floats(images) if images.dtype == np.uint8 else images.astype(np.float32)


class LabelledImages(NamedTuple):
    """Images with their labels.

    Attributes:
      name: of the data set, or the file.
      origin: which of its images these are, in words.
      images: N images.
      labels: int64[N].
      num_classes: of the data set; None where only the labels are known.
    """

    name: str
    origin: str
    images: Pixels
    labels: np.ndarray
    num_classes: int | None

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.images.shape[1:]

    def part(self, which: range) -> "LabelledImages":
        """Some of the images, one after the other, under the same name and origin."""
        chosen = slice(which.start, which.stop)
        return self._replace(images=Pixels(self.images.images[chosen]), labels=self.labels[chosen])

    def sha256(self) -> str:
        """Digest of images and labels."""
        digest = hashlib.sha256(str(self.images.images.dtype).encode())
        digest.update(self.images.images.tobytes())
        digest.update(self.labels.tobytes())
        return digest.hexdigest()


def open_labelled(
    name: str, split: str, *, count: int = 0, data_dir: str | None = None, download: bool = False
) -> LabelledImages:
    """The first `count` images of a split, or of an .npz file with arrays `images` and `labels`.

    Args:
      name: a data set as `open_dataset` takes it, or the path of an .npz file: images uint8 or float in [0, 1],
        [N, H, W, C], and labels int[N].
      split: TFDS split; not used for a file.
      count: how many; 0: all.
      data_dir: see `open_dataset`.
      download: see `open_dataset`.

    Raises:
      ValueError: no such data set or split, an unreadable file, bad images or labels, or fewer than `count` images.
      FileNotFoundError: the data set is not prepared, or there is no such file.
    """
    if name.endswith(".npz"):
        images, labels = _read(name)
        total, where, num_classes = len(labels), "the file", None
    else:
        data = open_dataset(name, data_dir, download=download)
        total, where, num_classes = data.size(split), split, data.num_classes
        name = data.name
    if not 0 <= count <= total:
        raise ValueError(f"expected --num_images in 0..{total}, the images of {where}, received {count}")
    count = count or total
    if num_classes is not None:
        examples = list(data.split(split).take(count).as_numpy_iterator())
        images, labels = np.stack([x for x, _ in examples]), np.stack([y for _, y in examples])
    return LabelledImages(
        name=name,
        origin=f"images 0 to {count - 1} of the {total} of {where}, in file order",
        images=Pixels(images[:count]),
        labels=labels[:count].astype(np.int64),
        num_classes=num_classes,
    )


def _read(path: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        arrays = read_arrays(path)
        missing = {"images", "labels"} - set(arrays)
        if missing:
            raise ValueError(f"it has no {' and no '.join(sorted(missing))}, but {', '.join(sorted(arrays))}")
        images, labels = arrays["images"], arrays["labels"]
        if images.ndim != 4 or labels.ndim != 1:
            raise ValueError(f"expected images [N, H, W, C] and labels [N], received {images.shape} and {labels.shape}")
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"expected an .npz file with arrays images and labels, cannot use {path}: {error}") from error
    if len(images) != len(labels) or not len(images):
        raise ValueError(f"expected a label for each image in {path}, received {len(labels)} for {len(images)}")
    check_images(images[:1] / np.float32(255) if images.dtype == np.uint8 else images)
    check_labels(labels)
    return images, labels
