"""Folders of images, laid out as `keras.utils.image_dataset_from_directory` takes them."""

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from jeat_tf.data.image_data import StoredImages, Unlabelled, resized

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_SPLITS = {"train": "train", "training": "train", "test": "test", "val": "validation", "valid": "validation"}
_SPLITS["validation"] = "validation"
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_MODES = {"1": "L", "L": "L", "LA": "RGBA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "RGB"}
_MODES["YCbCr"] = "RGB"


def holds_images(folder: str) -> bool:
    """Whether there are images in the folder, or in folders inside it."""
    return next(_files(folder), None) is not None


def open_folder(folder: str, size: tuple[int, int] | None = None) -> StoredImages:
    """The images of `folder/class/image.png`, or of `folder/split/class/image.png`.

    Folders named train, test and validation (or val) are splits. Without them all images are the split train. Classes
    are in the order of their names. The images are in one fixed random order, so that the first few are of all
    classes. Grey images have one channel, unless any image has colours.

    Args:
      folder: path.
      size: (H, W) that all images are resized to; None where they have one size.

    Raises:
      ValueError: no classes, a class without images, a class that training lacks, images of several sizes, or a file
        that is no image.
    """
    roots = _splits_in(folder) or {"train": folder}
    files, classes = {}, sorted({name for root in roots.values() for name in _subfolders(root)})
    if not classes:
        where = roots[min(roots)]
        raise ValueError(
            f"expected a folder for each class in {where}, such as {os.path.join(where, 'cat', '1.png')}; found none"
        )
    for split, root in roots.items():
        of_class = {label: _files(os.path.join(root, name)) for label, name in enumerate(classes)}
        files[split] = [(path, label) for label, paths in of_class.items() for path in paths]
        if not files[split]:
            raise ValueError(f"expected images in {root}, found none; remove that folder, or fill it")
    first = "train" if "train" in files else min(files)
    if missing := set(range(len(classes))) - {label for _, label in files[first]}:
        lacking = classes[min(missing)]
        raise ValueError(f"expected images in each class folder of {roots[first]}, found none of {lacking}")
    mode = _common_mode([path for found in files.values() for path, _ in found])
    splits = {}
    for split, found in files.items():
        order = np.random.default_rng(0).permutation(len(found))
        chosen = [found[i] for i in order]
        splits[split] = (_read([path for path, _ in chosen], mode, size), np.asarray([y for _, y in chosen], np.int64))
    if len(shapes := {images.shape[1:3] for images, _ in splits.values()}) > 1:
        raise ValueError(f"expected images of one size in {folder}, received {_sizes(shapes)}; give --image_size=HxW")
    return StoredImages(folder.rstrip(os.sep), splits, tuple(classes), place=folder)


def open_unlabelled_folder(folder: str, split: str, size: tuple[int, int] | None = None) -> Unlabelled:
    """All images in a folder and in the folders inside it, or those of a split that it has; see `open_folder`."""
    paths = list(_files(_splits_in(folder).get(split, folder)))
    if not paths:
        raise ValueError(f"expected images ({', '.join(SUFFIXES)}) in {folder}, found none")
    images = _read(paths, _common_mode(paths), size)
    return Unlabelled(folder.rstrip(os.sep), images[np.random.default_rng(0).permutation(len(images))])


def _splits_in(folder: str) -> dict[str, str]:
    """Split -> its folder; empty where the folders inside are no splits."""
    names = _subfolders(folder)
    if not all(name.lower() in _SPLITS for name in names):
        return {}
    roots = {_SPLITS[name.lower()]: os.path.join(folder, name) for name in names}
    if len(roots) < len(names):
        raise ValueError(f"expected one folder for each split in {folder}, received {', '.join(names)}")
    return roots


def _subfolders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: str) -> Iterator[str]:
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(root, name)


def _opened(path: str) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot read the image {path}: {error}; repair or remove it") from error


def _common_mode(paths: list[str]) -> str:
    modes = set()
    for path in paths:
        with _opened(path) as image:
            if image.mode not in _MODES:
                raise ValueError(
                    f"expected 8-bit images, received one of mode {image.mode}: {path}; store it with 8 bits"
                )
            modes.add("RGBA" if "transparency" in image.info and image.mode == "P" else _MODES[image.mode])
    return max(modes, key=lambda mode: _CHANNELS[mode])


def _read(paths: list[str], mode: str, size: tuple[int, int] | None) -> np.ndarray:
    images: list[np.ndarray] = []
    for path in paths:
        with _opened(path) as stored:
            try:
                image = np.asarray(ImageOps.exif_transpose(stored).convert(mode))
            except (OSError, SyntaxError) as error:
                raise ValueError(f"cannot read the image {path}: {error}; repair or remove it") from error
        image = image.reshape(*image.shape[:2], _CHANNELS[mode])
        if size is not None and image.shape[:2] != size:
            image = resized(tf.constant(image), size).numpy()
        if images and image.shape != images[0].shape:
            sizes = _sizes({image.shape[:2], images[0].shape[:2]})
            raise ValueError(f"expected images of one size, received {sizes} ({path}); give --image_size=HxW")
        images.append(image)
    return np.stack(images) if images else np.zeros((0, *(size or (1, 1)), _CHANNELS[mode]), np.uint8)


def _sizes(shapes: set[tuple[int, ...]]) -> str:
    return " and ".join(f"{height}x{width}" for height, width in sorted(shapes))
