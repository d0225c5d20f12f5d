"""`python -m jeat_tf.prepare`: makes a data set ready and says what is in it."""

import contextlib
import hashlib
import itertools
import os
from typing import Any

import numpy as np
from tqdm import tqdm

from jeat_tf.config import build
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.core.checks import check_labels
from jeat_tf.core.files import writable_folder, write_arrays, write_json
from jeat_tf.data.datasets import as_floats
from jeat_tf.data.stream import evaluation_batches
from jeat_tf.runs.locks import held
from jeat_tf.samplers.class_statistics import class_statistics


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Fetches and prepares the data set if need be, reads all of it once, and returns a summary.

    Returns:
      summary: name, folder, image shape, class names, and for each split the number of images, images of each
        class, and mean and standard deviation of pixels in [0, 1]; a digest of all images and labels; a sentence for
        each anomaly: images that are in two splits or twice in one, images of one value, classes without images or
        with ten times as many as another.

    Raises:
      ValueError: unknown data set, not image classification, or labels out of range.
      FileNotFoundError: nothing prepared and no download allowed or possible.
    """
    folders = {os.path.dirname(os.path.abspath(path)) for path in (config.output, config.statistics) if path}
    with contextlib.ExitStack() as stack:
        for folder in sorted(folders):
            writable_folder(folder, "output")
            stack.enter_context(held(folder, "jeat_tf.prepare", name="prepare"))
        return _prepared(config)


def _prepared(config: PrepareConfig) -> dict[str, Any]:
    data = build.dataset(config.data)
    splits: dict[str, Any] = {}
    digest = hashlib.sha256()
    seen: dict[str, set[bytes]] = {}
    anomalies: list[str] = []
    for split in data.splits:
        counts = np.zeros(data.num_classes, int)
        total, squares, pixels, flat = 0.0, 0.0, 0, 0
        seen[split] = set()
        batches = evaluation_batches(data.split(split), 1000)
        progress = tqdm(total=data.size(split), desc=split, unit="image", disable=None)
        for images, labels in batches.as_numpy_iterator():
            check_labels(labels, data.num_classes)
            counts += np.bincount(labels, minlength=data.num_classes)
            total += float(images.sum(dtype=np.float64))
            squares += float(np.square(images, dtype=np.float64).sum())
            pixels += images.size
            stored = np.round(images * 255).astype(np.uint8)
            digest.update(stored.tobytes() + labels.astype(np.int64).tobytes())
            seen[split].update(hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in stored)
            flat += int(np.sum(np.ptp(stored.reshape(len(stored), -1), axis=1) == 0))
            progress.update(len(labels))
        progress.close()
        mean = total / pixels
        splits[split] = {
            "images": int(counts.sum()),
            "images_of_class": dict(zip(data.class_names, counts.tolist(), strict=True)),
            "pixel_mean": mean,
            "pixel_std": float(np.sqrt(max(squares / pixels - mean**2, 0.0))),
        }
        anomalies += _of_split(split, splits[split], twice=int(counts.sum()) - len(seen[split]), flat=flat)
    for a, b in itertools.combinations(seen, 2):
        if shared := len(seen[a] & seen[b]):
            anomalies.append(f"{shared} images are in both {a} and {b}")
    summary = {
        "dataset": data.name,
        "folder": data.place,
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "splits": splits,
        "images_sha256": digest.hexdigest(),
        "anomalies": anomalies,
    }
    if config.statistics:
        images, labels = data.arrays("train")
        statistics = class_statistics(as_floats(images), labels, data.num_classes)
        write_arrays(config.statistics, **statistics._asdict())
    if config.output:
        write_json(config.output, summary)
    return summary


def _of_split(split: str, summary: dict[str, Any], *, twice: int, flat: int) -> list[str]:
    found = []
    if twice:
        found.append(f"{twice} images of {split} are there more than once")
    if flat:
        found.append(f"{flat} images of {split} have one value in all pixels")
    counts = summary["images_of_class"]
    if empty := [name for name, count in counts.items() if not count]:
        found.append(f"no images of {', '.join(empty)} in {split}")
    elif max(counts.values()) >= 10 * min(counts.values()):
        found.append(f"a class of {split} has ten times as many images as another, or more")
    return found
