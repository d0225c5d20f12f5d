"""Corrupted images with labels, by corruption and severity: published files, folders, TFDS, or made here."""

import functools
import os
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from jeat_tf.core.values import nearest
from jeat_tf.data import corruption_library
from jeat_tf.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from jeat_tf.data.labelled import LabelledImages, Pixels, open_labelled

COMMON = "common"
Opened = Mapping[tuple[str, int], Callable[[], LabelledImages]]
"""(corruption, severity) -> the images, read when called."""
_Found = dict[str, list[Callable[[], LabelledImages]]]


def open_corrupted(
    source: str,
    clean: LabelledImages,
    *,
    only: tuple[str, ...] = (),
    count: int = 0,
    split: str = "test",
    seed: int = 0,
    data_dir: str | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
) -> Opened:
    """The images of every corruption and severity, checked as far as possible without reading them.

    Args:
      source: "common" for `corruptions.CORRUPTIONS` of the clean images; "imagecorruptions" for those of that package;
        a folder with CIFAR-10-C's layout, one `<corruption>.npy` for each and `labels.npy`; a folder with ImageNet-C's,
        `<corruption>/<severity>/<class>/`; or a TFDS name with a config for each, e.g. "cifar10_corrupted".
      clean: the images that are corrupted, or whose classes the others have.
      only: names of corruptions; empty for all.
      count: images of each severity; 0: all.
      split: of a TFDS data set.
      seed: of the noise of "common".
      data_dir: see `open_dataset`.
      download: see `open_dataset`.
      image_size: see `open_dataset`.

    Raises:
      ValueError: no such source, a corruption that it lacks, or a file or folder of another layout, which is named.
    """
    found: _Found
    if source == COMMON:
        names = [name for name in CORRUPTIONS if name != "saturate" or clean.image_shape[-1] == 3]
        found = _made_of(clean, corrupt, names, seed)
    elif source == corruption_library.PACKAGE:
        corruption_library.check_installed(clean.image_shape)
        found = _made_of(clean, corruption_library.corrupt_by_library, corruption_library.NAMES, seed)
    elif os.path.isdir(source) and os.path.exists(os.path.join(source, "labels.npy")):
        found = _from_arrays(source, clean, count)
    elif os.path.isdir(source):
        found = _from_folders(source, clean, count, image_size)
    else:
        found = _from_tfds(source, clean, count, split, data_dir, download, image_size)
    if unknown := [name for name in only if name not in found]:
        raise ValueError(f"unknown corruption {unknown[0]} in {source}; {nearest(unknown[0], list(found))}")
    return {(name, s): found[name][s - 1] for name in only or found for s in SEVERITIES}


def _made_of(clean: LabelledImages, corrupt_fn: Callable[..., np.ndarray], names: Iterable[str], seed: int) -> _Found:
    return {name: [functools.partial(_made, clean, corrupt_fn, name, s, seed) for s in SEVERITIES] for name in names}


def _made(
    clean: LabelledImages, corrupt_fn: Callable[..., np.ndarray], name: str, severity: int, seed: int
) -> LabelledImages:
    images = corrupt_fn(clean.images[:], name, severity, seed=seed)
    return clean._replace(images=Pixels(images), origin=f"{clean.origin}, {name} {severity}")


def _from_arrays(folder: str, clean: LabelledImages, count: int) -> _Found:
    """CIFAR-10-C: each file has all images at severity 1, then all at 2, and so on."""
    path = os.path.join(folder, "labels.npy")
    labels = _array(path)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected integer labels [5 N] in {path}, received {labels.dtype} {list(labels.shape)}")
    files = sorted(name for name in os.listdir(folder) if name.endswith(".npy") and name != "labels.npy")
    if not files:
        raise ValueError(f"expected files such as gaussian_noise.npy beside {path}, found none")
    found: _Found = {}
    for file in files:
        path = os.path.join(folder, file)
        images = _array(path)
        if images.ndim != 4 or images.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 images [5 N, H, W, C] of 0 to 255 in {path}, received {images.dtype} "
                f"{list(images.shape)}"
            )
        if images.shape[1:] != clean.image_shape:
            raise ValueError(
                f"expected images {list(clean.image_shape)} as in {clean.name}, received {list(images.shape[1:])} in "
                f"{path}"
            )
        each = len(images) // len(SEVERITIES)
        if len(images) % len(SEVERITIES) or len(labels) not in (len(images), each):
            raise ValueError(
                f"expected five severities of as many images as there are labels, received {len(images)} images in "
                f"{path} and {len(labels)} labels in labels.npy"
            )
        if count > each:
            raise ValueError(
                f"expected --num_images in 0..{each}, the images of a severity in {path}, received {count}"
            )
        all_labels = labels if len(labels) == len(images) else np.tile(labels, len(SEVERITIES))
        used = all_labels.reshape(len(SEVERITIES), each)[:, : count or each]
        if used.max() >= (clean.num_classes or clean.labels.max() + 1):
            raise ValueError(f"expected labels of {clean.name}, received {used.max()} in {folder}/labels.npy")
        found[file.removesuffix(".npy")] = [
            functools.partial(_block, clean, images, all_labels, (s - 1) * each, count or each, f"{path}, severity {s}")
            for s in SEVERITIES
        ]
    return found


def _block(
    clean: LabelledImages, images: np.ndarray, labels: np.ndarray, first: int, count: int, origin: str
) -> LabelledImages:
    chosen = slice(first, first + count)
    return clean._replace(
        images=Pixels(np.asarray(images[chosen])), labels=labels[chosen].astype(np.int64), origin=origin
    )


def _array(path: str) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"cannot read {path}: {error}; load it again from its source") from error


def _from_folders(folder: str, clean: LabelledImages, count: int, size: tuple[int, int] | None) -> _Found:
    """ImageNet-C: <corruption>/<severity>/<class>/, also below folders for kinds of corruptions."""
    found: _Found = {}
    for root, folders, _ in os.walk(folder):
        severities = {name for name in folders if re.fullmatch(r"\d+", name)}
        if not severities:
            continue
        folders.clear()
        if missing := sorted({str(s) for s in SEVERITIES} - severities):
            raise ValueError(f"expected folders 1 to 5 of severities in {root}, found no {missing[0]}")
        if more := sorted(severities - {str(s) for s in SEVERITIES}):
            raise ValueError(f"expected severities 1 to 5 in {root}, found {more[0]}")
        paths = [os.path.join(root, str(s)) for s in SEVERITIES]
        found[os.path.basename(root)] = [functools.partial(_opened, path, clean, count, "test", size) for path in paths]
    if not found:
        raise ValueError(
            f"expected corrupted images in {folder}: labels.npy with gaussian_noise.npy and so on, or folders "
            "gaussian_noise/1/<class>/; found neither"
        )
    return dict(sorted(found.items()))


def _opened(
    name: str,
    clean: LabelledImages,
    count: int,
    split: str,
    size: tuple[int, int] | None,
    data_dir: str | None = None,
    download: bool = False,
) -> LabelledImages:
    images = open_labelled(name, split, count=count, data_dir=data_dir, download=download, image_size=size)
    if images.image_shape != clean.image_shape:
        raise ValueError(
            f"expected images {list(clean.image_shape)} as in {clean.name}, received {list(images.image_shape)} in "
            f"{name}; give --image_size=HxW"
        )
    if clean.class_names and images.class_names and clean.class_names != images.class_names:
        raise ValueError(
            f"expected the {len(clean.class_names)} classes of {clean.name}, received {len(images.class_names)} other "
            f"ones in {name}"
        )
    return images


def _from_tfds(
    name: str,
    clean: LabelledImages,
    count: int,
    split: str,
    data_dir: str | None,
    download: bool,
    size: tuple[int, int] | None,
) -> _Found:
    import tensorflow_datasets as tfds

    try:
        configs = [config.name for config in tfds.builder_cls(name).BUILDER_CONFIGS]
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f'expected corruptions to be "{COMMON}", "{corruption_library.PACKAGE}", a folder or a TFDS name such as '
            f'cifar10_corrupted, received "{name}"'
        ) from error
    names = sorted({match[1] for config in configs if (match := re.fullmatch(r"(.+)_[1-5]", config))})
    missing = [f"{each}_{s}" for each in names for s in SEVERITIES if f"{each}_{s}" not in configs]
    if missing or not names:
        raise ValueError(
            f"expected configs such as gaussian_noise_1 to _5 of {name}, found no {', '.join(missing) or 'such config'}"
        )
    return {
        each: [
            functools.partial(_opened, f"{name}/{each}_{s}", clean, count, split, size, data_dir, download)
            for s in SEVERITIES
        ]
        for each in names
    }
