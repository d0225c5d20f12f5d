"""`python -m jeat_tf.prepare`: makes a data set ready and says what is in it."""

import json
from typing import Any

import numpy as np
from tqdm import tqdm

from jeat_tf import build, cli
from jeat_tf.artifacts import write_json
from jeat_tf.config import PrepareConfig
from jeat_tf.data import check_labels, evaluation_batches


def prepare(config: PrepareConfig) -> dict[str, Any]:
    """Fetches and prepares the data set if need be, reads all of it once, and returns a summary.

    Returns:
      summary: name, folder, image shape, class names, and for each split the number of images, images of each
        class, and mean and standard deviation of pixels in [0, 1].

    Raises:
      ValueError: unknown data set, not image classification, or labels out of range.
      FileNotFoundError: nothing prepared and no download allowed or possible.
    """
    data = build.dataset(config.data)
    splits = {}
    for split in data.builder.info.splits:
        counts = np.zeros(data.num_classes, int)
        total, squares, pixels = 0.0, 0.0, 0
        batches = evaluation_batches(data.split(split), 1000)
        progress = tqdm(total=data.size(split), desc=split, unit="image")
        for images, labels in batches.as_numpy_iterator():
            check_labels(labels, data.num_classes)
            counts += np.bincount(labels, minlength=data.num_classes)
            total += float(images.sum(dtype=np.float64))
            squares += float(np.square(images, dtype=np.float64).sum())
            pixels += images.size
            progress.update(len(labels))
        progress.close()
        mean = total / pixels
        splits[split] = {
            "images": int(counts.sum()),
            "images_of_class": dict(zip(data.class_names, counts.tolist(), strict=True)),
            "pixel_mean": mean,
            "pixel_std": float(np.sqrt(max(squares / pixels - mean**2, 0.0))),
        }
    summary = {
        "dataset": data.name,
        "folder": str(data.builder.data_path),
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "splits": splits,
    }
    if config.output:
        write_json(config.output, summary)
    return summary


def _main(config: PrepareConfig) -> None:
    print(json.dumps(prepare(config), indent=2))


if __name__ == "__main__":
    cli.run(PrepareConfig, _main)
