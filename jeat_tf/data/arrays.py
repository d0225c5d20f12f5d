"""Arrays of images: .npz and .npy files, and the pairs that `keras.datasets.*.load_data()` returns."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import check_images, check_labels
from jeat_tf.core.files import read_arrays
from jeat_tf.core.types import ImagesAndLabels
from jeat_tf.data.image_data import StoredImages, Unlabelled, resized

SUFFIXES = (".npz", ".npy")
_NAMES = (("images", "labels"), ("x", "y"), ("image", "label"))
_SPLITS = ("train", "test", "validation", "val")
_DARK = 16  # the whitest pixel of images whose white is not 255, such as 1 or 16


def from_arrays(
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    *,
    class_names: Sequence[str] = (),
    name: str = "arrays",
    size: tuple[int, int] | None = None,
) -> StoredImages:
    """A data set of arrays, for instance `from_arrays(*keras.datasets.cifar10.load_data())`.

    Args:
      train: images uint8, or floats in [0, 1], [N, H, W, C] or grey [N, H, W]; and integer labels [N] or [N, 1].
      test: the same, or None.
      class_names: one for each class; empty: the numbers of the labels.
      name: in messages and records.
      size: (H, W) that images are resized to; None leaves them as they are.

    Raises:
      ValueError: images or labels of another type or shape, not one label for each image, or labels without a class
        name.
    """
    splits = {"train": train} if test is None else {"train": train, "test": test}
    for split, pair in splits.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(
                f"expected {split} as a pair (images, labels), received {type(pair).__name__}; write "
                "from_arrays((images, labels))"
            )
    return _stored(name, splits, class_names, size)


def open_arrays(path: str, size: tuple[int, int] | None = None) -> StoredImages:
    """The images and labels of an .npz file, or of an .npy file with labels beside it.

    An .npz file has arrays images and labels, or x and y, and perhaps class_names: these are the split train. Or it has
    x_train, y_train, x_test and y_test, as Keras' files have, or train_images and so on. The labels of `name.npy` are
    in `name_labels.npy`, or else in `labels.npy`.

    Args:
      path: of the file.
      size: (H, W) that images are resized to; None leaves them as they are.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an unreadable file, or arrays that are no images and labels.
    """
    if _is_one(path):
        stem = path[:-4]
        beside = [f"{stem}_labels.npy", os.path.join(os.path.dirname(path), "labels.npy")]
        images = _loaded(path)["array"]
        found = next((name for name in beside if os.path.isfile(name)), None)
        if found is None:
            raise ValueError(f"expected the labels of {path} in {' or '.join(beside)}, found neither")
        return _stored(path, {"train": (images, _loaded(found)["array"])}, (), size)
    arrays = _loaded(path)
    names = tuple(
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
        for name in np.ravel(arrays.get("class_names", ())).tolist()
    )
    return _stored(path, _pairs(path, arrays), names, size)


def open_unlabelled_arrays(path: str, split: str, size: tuple[int, int] | None = None) -> Unlabelled:
    """The images of an .npz or .npy file, which need no labels: those of a split where the file has it; see
    `open_arrays`."""
    arrays = _loaded(path)
    plain = [images for images, _ in _NAMES]
    for name in [*_of_split(split), "array", *plain, *(name for other in _SPLITS for name in _of_split(other))]:
        if name in arrays:
            return Unlabelled(path, _images(path, arrays[name], size))
    raise ValueError(f"expected images in {path}, as an array {' or '.join(plain)}, received {_listed(arrays)}")


def _of_split(split: str) -> list[str]:
    """What the images of a split may be called."""
    return [name for images, _ in _NAMES for name in (f"{images}_{split}", f"{split}_{images}")]


def _loaded(path: str) -> Mapping[str, np.ndarray]:
    try:
        return {"array": np.load(path, allow_pickle=False)} if _is_one(path) else read_arrays(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file at {path}; give --dataset the path of an .npz or .npy file") from None
    except Exception as error:
        said = "it holds objects or is no such file" if "pickle" in str(error) else str(error)
        raise ValueError(f"expected an .npz or .npy file of arrays, cannot use {path}: {said}") from error


def _is_one(path: str) -> bool:
    return path.lower().endswith(".npy")


def _pairs(path: str, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {}
    for split in _SPLITS:
        for images, labels in (*((f"{x}_{split}", f"{y}_{split}") for x, y in _NAMES), *_before(split)):
            if images in arrays and labels in arrays:
                found["validation" if split == "val" else split] = (arrays[images], arrays[labels])
    if found:
        return found
    for images, labels in _NAMES:
        if images in arrays and labels in arrays:
            return {"train": (arrays[images], arrays[labels])}
    lacking = [name for name in _NAMES[0] if name not in arrays]
    raise ValueError(
        f"expected arrays images and labels, or x_train, y_train, x_test and y_test, in {path}: it has no "
        f"{' and no '.join(lacking)}, but {_listed(arrays)}; store np.savez(path, images=..., labels=...)"
    )


def _before(split: str) -> list[tuple[str, str]]:
    return [(f"{split}_{x}", f"{split}_{y}") for x, y in _NAMES]


def _listed(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(sorted(arrays)) or "nothing"


def _stored(
    name: str, splits: Mapping[str, tuple[Any, Any]], class_names: Sequence[str], size: tuple[int, int] | None
) -> StoredImages:
    held: dict[str, ImagesAndLabels] = {}
    for split, (given, given_labels) in splits.items():
        images, labels = _images(name, given, size), np.asarray(given_labels)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        _with_name(name, check_labels, labels)
        if len(images) != len(labels):
            raise ValueError(
                f"expected a label for each image of {split} in {name}, received {len(labels)} for {len(images)}"
            )
        held[split] = images, labels.astype(np.int64)
    shapes = {images.shape[1:] for images, _ in held.values()}
    if len(shapes) > 1:
        raise ValueError(f"expected images of one shape in {name}, received {sorted(map(list, shapes))}")
    whitest = [int(images.max()) for images, _ in held.values() if images.dtype == np.uint8]
    if whitest and (highest := max(whitest)) <= _DARK:
        warnings.warn(
            f"the images of {name} are bytes of at most {highest}, which of 255 is nearly black; rescale them to "
            "0..255, or to floats in [0, 1]",
            stacklevel=3,
        )
    count = max(int(labels.max()) for _, labels in held.values()) + 1
    if class_names and len(class_names) < count:
        raise ValueError(f"expected a name for each of {count} classes of {name}, received {len(class_names)}")
    if twice := {one for one in class_names if list(class_names).count(one) > 1}:
        raise ValueError(f"expected class names of {name} that differ, received {min(twice)} more than once")
    present = {int(label) for _, labels in held.values() for label in np.unique(labels)}
    if not class_names and count > 2 and present == set(range(1, count)):
        warnings.warn(
            f"the labels of {name} are 1 to {count - 1}, and class 0 has no images: a net of {count} classes fits "
            "them; store labels - 1 where they count from 1",
            stacklevel=3,
        )
    return StoredImages(name, held, tuple(class_names), place=name)


def _images(name: str, given: Any, size: tuple[int, int] | None) -> np.ndarray:
    images = np.asarray(given)
    if images.ndim == 3:
        images = images[..., None]
    if not images.size:
        raise ValueError(f"expected images in {name}, received none: shape {list(images.shape)}")
    if images.dtype != np.uint8:
        _with_name(name, check_images, images)
        images = images.astype(np.float32)
    elif images.ndim != 4:
        _with_name(name, check_images, images[:1] / np.float32(255))
    if images.shape[3] > 4 >= images.shape[1]:
        raise ValueError(
            f"expected images [N, H, W, C] in {name}, received shape {list(images.shape)}; "
            "channels go last: store np.moveaxis(images, 1, -1)"
        )
    if size is None or images.shape[1:3] == size:
        return images
    parts = range(0, len(images), 1024)
    return np.concatenate([resized(tf.constant(images[i : i + 1024]), size).numpy() for i in parts])


def _with_name(name: str, check: Any, values: np.ndarray) -> None:
    try:
        check(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
