"""Data sets by name: TFDS builders, the built-in digits, folders of images, files of arrays."""

import contextlib
import difflib
import errno
import io
import os
import sys
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jeat_tf.data import arrays, folders
from jeat_tf.data.digits import Digits
from jeat_tf.data.image_data import ImageData, StoredImages, TfdsImages, Unlabelled

_CHUNKS = 100  # sub-splits that the validation draw chooses among: one percent of the training split each


def open_dataset(
    name: str | os.PathLike,
    data_dir: str | None = None,
    *,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
) -> ImageData:
    """The data set of a TFDS name, a folder, or a file of arrays.

    Args:
      name: "digits" (built in); any TFDS image classification name, with its config where it has some ("cifar10",
        "cifar10_corrupted/gaussian_noise_5"); the version folder of a prepared data set (the one that holds
        dataset_info.json); a folder of images (`folders.open_folder`); or an .npz or .npy file (`arrays.open_arrays`).
      data_dir: TFDS data folder; None is TFDS' own default (TFDS_DATA_DIR or ~/tensorflow_datasets).
      download: fetch and prepare what is missing. The built-in digits are prepared in any case.
      image_size: (H, W) that images are resized to; None leaves them as they are.

    Raises:
      ValueError: unknown name (with the nearest ones), or not an image classification data set.
      FileNotFoundError: no such file or folder; or nothing prepared in data_dir, and download is off or failed.
    """
    name = _named(name)
    if is_file(name):
        return arrays.open_arrays(name, image_size)
    if _is_folder_of_images(name):
        return folders.open_folder(name, image_size)
    builder = _builder(name, data_dir)
    if not builder.info.splits:
        _prepare(builder, download or isinstance(builder, Digits))
    keys = _keys(builder)
    shape = builder.info.features[keys[0]].shape
    if None in shape[:2] and image_size is None:
        raise ValueError(f"data set {name} has images of varying size {shape}; give --image_size=HxW to resize them")
    return TfdsImages(builder, keys, image_size)


def open_unlabelled(
    name: str | os.PathLike,
    split: str,
    data_dir: str | None = None,
    *,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
) -> Unlabelled:
    """Images whose labels nothing reads: a split of a data set, or of a file or folder that has it, or else all there.

    Raises:
      ValueError: see `open_dataset`.
      FileNotFoundError: see `open_dataset`.
    """
    name, whole = _named(name), split.partition("[")[0]
    if is_file(name) or _is_folder_of_images(name):
        opened = arrays.open_unlabelled_arrays if is_file(name) else folders.open_unlabelled_folder
        found = opened(name, whole, image_size)
        if whole == split:
            return found
        held = StoredImages(name, {whole: (found.images, np.zeros(len(found.images), np.int64))})
        return Unlabelled(found.name, held.arrays(split)[0])
    data = open_dataset(name, data_dir, download=download, image_size=image_size)
    return Unlabelled(data.name, data.arrays(split)[0])


def as_floats(images: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1]: uint8 divided by 255, floats as they are."""
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images.astype(np.float32, copy=False)


def is_file(name: str) -> bool:
    """Whether the name of a data set names a file of arrays."""
    return name.lower().endswith(arrays.SUFFIXES)


def _named(name: Any) -> str:
    try:
        return str(os.fspath(name))
    except TypeError:
        raise TypeError(
            f"expected the name or the path of a data set, received {type(name).__name__}; data.from_arrays((images, "
            "labels)) makes one of arrays"
        ) from None


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
    size = data.size("train")
    if validation_percent == 0:
        return "train", None
    chosen = np.random.default_rng(seed).permutation(_CHUNKS)[:validation_percent]
    held_out = np.isin(np.arange(_CHUNKS), chosen)
    names = _ranges(~held_out), _ranges(held_out)
    if not all(data.size(name) for name in names):
        raise ValueError(
            f"expected training images of which {validation_percent}% can be held out, {data.name} has {size}; give "
            "another --validation_percent, or 0"
        )
    return names


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
                f"expected a folder of images ({', '.join(folders.SUFFIXES)}), or one with dataset_info.json that TFDS "
                f"prepared, such as .../cifar10/3.0.2; {name} has neither"
            ) from None
    if os.path.isabs(name) or name.startswith((".", "~")) or os.path.isfile(name):
        raise FileNotFoundError(
            f"expected --dataset of a name, a folder or an .npz or .npy file; {name} "
            + ("is another file" if os.path.isfile(name) else "does not exist")
        )
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = ["digits", *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(name.split("/")[0], known, n=5)
        hint = f"did you mean {' or '.join(near)}?" if near else "see `tfds.list_builders()`"
        raise ValueError(f'unknown data set "{name}": neither a TFDS name nor an existing folder; {hint}') from None
    except ValueError as error:
        raise ValueError(_in_one_sentence(name, data_dir, error)) from None


def _in_one_sentence(name: str, data_dir: str | None, error: ValueError) -> str:
    """What is wrong with the config or the spelling of a TFDS name."""
    base, _, given = name.partition("/")
    configs = []
    with contextlib.suppress(Exception):  # a name that TFDS cannot parse has no configs to list
        configs = list(tfds.builder_cls(base.split(":")[0]).builder_configs)
    if given and configs:
        near = difflib.get_close_matches(given, configs, n=3) or configs[:3]
        return f'data set {base} has no config "{given}"; did you mean {" or ".join(near)}?'
    if given:
        return f'data set {base} has no configs, received "{given}"; write --dataset={base}'
    return f'"{name}" is no name of a data set: {str(error).strip().splitlines()[0]}'


def _is_folder_of_images(name: str) -> bool:
    return (
        os.path.isdir(name)
        and not os.path.isfile(os.path.join(name, "dataset_info.json"))
        and folders.holds_images(name)
    )


def _prepare(builder: tfds.core.DatasetBuilder, download: bool) -> None:
    name = builder.name if builder.builder_config is None else f"{builder.name}/{builder.builder_config.name}"
    recipe = (
        f"prepare it once with `python -m jeat_tf.prepare --dataset={name} --download` (needs a network), "
        "or put the original archives into <data_dir>/downloads/manual and run the same command, "
        "or point --data_dir at the folder that holds it"
    )
    if not download:
        raise FileNotFoundError(f"no prepared data set at {builder.data_path}; {recipe}")
    # Preparing the digits takes half a second and deserves no output.
    hushed = contextlib.redirect_stdout(io.StringIO()) if isinstance(builder, Digits) else contextlib.nullcontext()
    if isinstance(builder, Digits) or not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with hushed:
            builder.download_and_prepare()
    except Exception as error:
        # TensorFlow's writers raise errors of other types, in which only the text tells that the disk is full.
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(builder.data_path)) from error
        if not isinstance(error, OSError):
            raise
        if os.path.isfile(os.path.join(builder.data_path, "dataset_info.json")):  # another process was faster
            builder.info.read_from_directory(builder.data_path)
            return
        raise FileNotFoundError(f"could not fetch {name} into {builder.data_path}: {error}; {recipe}") from error
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
