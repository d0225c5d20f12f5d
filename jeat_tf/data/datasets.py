"""Data sets by name: TFDS builders, the built-in digits, or a prepared TFDS folder."""

import difflib
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from jeat_tf.data.digits import Digits

_CHUNKS = 100  # sub-splits that the validation draw chooses among: one percent of the training split each


class ImageData(NamedTuple):
    """A classification data set that is ready to be read.

    Attributes:
      name: of the TFDS builder.
      builder: the prepared TFDS builder.
      image_key, label_key: features read as image and label.
      image_shape: (H, W, C).
      class_names: one for each class, in label order.
    """

    name: str
    builder: tfds.core.DatasetBuilder
    image_key: str
    label_key: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def split(self, split: str) -> tf.data.Dataset:
        """Elements (image uint8[H, W, C], label int64[]), always in the same order."""
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        examples = self.builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        return examples.map(lambda e: (e[self.image_key], e[self.label_key]))

    def size(self, split: str) -> int:
        """Number of examples of a split, or of a sub-split such as "train[:10%]"."""
        if split.split("[")[0] not in self.builder.info.splits:
            raise ValueError(
                f'data set {self.name} in {self.builder.data_path} has no split "{split}"; '
                f"it has {sorted(self.builder.info.splits)}"
            )
        return self.builder.info.splits[split].num_examples

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The whole split in memory: images uint8[N, H, W, C] and labels int64[N]."""
        self.size(split)
        batches = list(self.split(split).batch(1024).as_numpy_iterator())
        return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def open_dataset(name: str, data_dir: str | None = None, *, download: bool = False) -> ImageData:
    """The data set of a TFDS name, or of a folder that TFDS prepared.

    Args:
      name: "digits" (built in), any TFDS image classification name ("cifar10", "svhn_cropped", ...), or the
        version folder of a prepared data set (the one that holds dataset_info.json).
      data_dir: TFDS data folder; None is TFDS' own default (TFDS_DATA_DIR or ~/tensorflow_datasets).
      download: fetch and prepare what is missing. The built-in digits are prepared in any case.

    Raises:
      ValueError: unknown name (with the nearest ones), or not an image classification data set.
      FileNotFoundError: nothing prepared in data_dir, and download is off or failed.
    """
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        _prepare(builder, download or isinstance(builder, Digits))
    image_key, label_key = _keys(builder)
    shape = builder.info.features[image_key].shape
    if None in shape:
        raise ValueError(
            f"data set {name} has images of varying size {shape}; prepare a resized copy "
            "(tfds.dataset_builders.store_as_tfds_dataset) and pass its folder as --dataset"
        )
    return ImageData(
        name=builder.name,
        builder=builder,
        image_key=image_key,
        label_key=label_key,
        image_shape=tuple(shape),
        class_names=tuple(builder.info.features[label_key].names),
    )


def as_floats(images: np.ndarray) -> np.ndarray:
    """uint8 images as float32 in [0, 1]."""
    return images.astype(np.float32) / 255


def split_names(data: ImageData, validation_percent: int, seed: int) -> tuple[str, str | None]:
    """TFDS sub-splits (training, validation) of "train".

    The training split is cut into 100 pieces in file order and the validation set is a seeded draw of them, so
    that a data set stored class by class still gives a mixed validation set.

    Args:
      data: an open data set.
      validation_percent: 0..90; 0 keeps everything for training and gives no validation set.
      seed: of the draw.
    """
    if not 0 <= validation_percent <= 90:
        raise ValueError(f"expected validation_percent in 0..90, received {validation_percent}")
    data.size("train")
    if validation_percent == 0:
        return "train", None
    chosen = np.random.default_rng(seed).permutation(_CHUNKS)[:validation_percent]
    held_out = np.isin(np.arange(_CHUNKS), chosen)
    return _ranges(~held_out), _ranges(held_out)


def _ranges(chunks: np.ndarray) -> str:
    """ "train[0%:3%]+train[4%:9%]" for the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chunks.astype(int), [0]])))
    return "+".join(f"train[{a}%:{b}%]" for a, b in zip(edges[::2], edges[1::2], strict=True))


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    if name == "digits":
        return Digits(data_dir=data_dir)
    if os.path.isdir(name):
        try:
            return tfds.builder_from_directory(name)
        except tfds.core.dataset_info.DatasetInfoFileError:
            raise ValueError(
                f"{name} is a folder without dataset_info.json; expected the version folder of a prepared "
                "TFDS data set, for instance .../cifar10/3.0.2"
            ) from None
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = ["digits", *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(name, known, n=5)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `tfds.list_builders()`"
        raise ValueError(f'unknown data set "{name}": neither a TFDS name nor an existing folder; {hint}') from None


def _prepare(builder: tfds.core.DatasetBuilder, download: bool) -> None:
    recipe = (
        f"prepare it once with `python -m jeat_tf.prepare --dataset={builder.name} --download` (needs a network), "
        "or put the original archives into <data_dir>/downloads/manual and run the same command, "
        "or point --data_dir at the folder that holds it"
    )
    if not download:
        raise FileNotFoundError(f"no prepared data set at {builder.data_path}; {recipe}")
    if isinstance(builder, Digits):
        tfds.disable_progress_bar()  # half a second of work
    try:
        builder.download_and_prepare()
    except OSError as error:
        raise FileNotFoundError(
            f"could not fetch {builder.name} into {builder.data_path}: {error}; {recipe}"
        ) from error
    finally:
        tfds.enable_progress_bar()


def _keys(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    keys = builder.info.supervised_keys or ("image", "label")
    features = dict(builder.info.features.items())
    if (
        len(keys) != 2
        or not isinstance(features.get(keys[0]), tfds.features.Image)
        or not isinstance(features.get(keys[1]), tfds.features.ClassLabel)
    ):
        raise ValueError(
            f"data set {builder.name} is not an image classification data set: expected an image and one class "
            f"label, received features {sorted(features)}"
        )
    if features[keys[0]].np_dtype != np.uint8:
        raise ValueError(f"expected 8-bit images, data set {builder.name} has {features[keys[0]].np_dtype}")
    return keys
