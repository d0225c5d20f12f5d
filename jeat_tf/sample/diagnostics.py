"""Diagnostics of the chains that drew samples, and pictures of the samples."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.files import whole_file, write_animation
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Images, ImagesAndLabels
from jeat_tf.figures.show import show, with_caption
from jeat_tf.metrics.chain_diagnostics import diagnose
from jeat_tf.metrics.looks import looks
from jeat_tf.runs.sample_results import Diagnostics
from jeat_tf.runs.samples import SampleFolder, Shard
from jeat_tf.runs.trained import StoredBuffer
from jeat_tf.sample.chains import Drawing
from jeat_tf.samplers.stages import Stage

_SHOWN_OF_CLASS = 10
_WIDTH = 400  # pixels of the animation, about
COMPARED = 2000  # samples, and training images, that the diagnostics compare


def first_of(shards: Iterable[Shard], least: int) -> Shard:
    """The first images, at least so many of them, without reading all."""
    found: list[Shard] = []
    for shard in shards:
        found.append(shard)
        if sum(len(one.labels) for one in found) >= least:
            break
    return Shard(*map(np.concatenate, zip(*found, strict=True)))


def first_images(samples: SampleFolder, num_classes: int) -> Shard:
    """The first samples, enough of them to show and to compare."""
    return first_of(samples.shards(), max(_SHOWN_OF_CLASS * num_classes, COMPARED))


def diagnostics(
    config: SampleConfig,
    stages: Sequence[Stage],
    drawing: Drawing,
    shown: Shard,
    traces: dict[str, np.ndarray],
    training: Callable[[], ImagesAndLabels],
    starts: np.ndarray,
    buffer: StoredBuffer | None,
) -> Diagnostics:
    """What the chains did on their way, and whether the first images have collapsed.

    Args:
      config: settings of the verb.
      stages: what was done to the images, in order.
      drawing: what drew the samples.
      shown: the first images.
      traces: of the chains, as `SampleFolder.traces` gives them.
      training: images and labels to compare with.
      starts: where the chains of the first images began.
      buffer: replay buffer in whose slots they began; None without.
    """
    steps = [stages[i].steps_at(done) for i, done in drawing.readings_at()] if stages else None
    seen = seen_by(drawing.net, shown.images)
    images, labels = training()
    # Whatever the order in which the training images are stored.
    few = np.random.default_rng(0).permutation(len(labels))[:COMPARED]
    means = {name: values.mean(axis=1) for name, values in traces.items() if values.ndim == 2}
    along = {
        name.removeprefix("trace_"): tuple(mean.tolist()) for name, mean in means.items() if name.startswith("trace_")
    }
    look = looks(shown.images, shown.labels, images[few], labels[few], starts=starts)
    accepted = {name.removeprefix("accepted_by_"): float(m[0]) for name, m in means.items() if name.startswith("acc")}
    num_classes = drawing.net.output_shape[-1]
    references = images[few], labels[few]
    found = diagnose(traces, shown.images, shown.labels, *references, seen=seen, num_classes=num_classes, steps=steps)
    return Diagnostics(
        **vars(found),
        finite=bool(np.isfinite(shown.images).all()),
        share_classified_as_asked_by_the_net_itself=(
            float(np.mean(seen == shown.labels)) if config.classes != "none" else None
        ),
        looks=look,
        trace={"step": tuple(traces["trace_step"].tolist())} | along,
        accepted=accepted,
        buffer_age_mean=None if buffer is None else float(buffer.age.mean()),
        buffer_age_max=None if buffer is None else int(buffer.age.max()),
    )


def starts_of(config: SampleConfig, drawing: Drawing, labels: np.ndarray) -> Iterator[Shard]:
    """Where chains began, a batch at a time, with the requested classes."""
    for i, start in enumerate(range(0, len(labels), config.batch_size)):
        batch = labels[start : start + config.batch_size]
        yield Shard(drawing.start(tf.constant(batch), fold_in(tf.constant([config.seed, 6]), i)).numpy(), batch)


def seen_by(net: keras.Model, images: np.ndarray) -> np.ndarray:
    """int64[N], the class that the net sees in each image; -1 in one that is not finite."""
    parts = np.array_split(images, -(-len(images) // 256))
    classes = np.concatenate([net(part, training=False).numpy().argmax(-1) for part in parts])
    return np.where(np.isfinite(images).all(axis=(1, 2, 3)), classes, -1)


def animate(folder: str, frames: list[Images], labels: np.ndarray, traces: dict[str, np.ndarray]) -> None:
    """Writes chain.gif: the first images of each class at every reading, with the step and their mean E(x, y).

    Args:
      folder: where it is written.
      frames: images at each reading.
      labels: requested classes.
      traces: what was read, as `Drawing.batch` returns it.
    """
    places = _rows_of_classes(labels, np.unique(labels))
    energies = traces["trace_energy"][:, places[places >= 0]].mean(axis=1)
    steps = traces["trace_step"]
    pictures = [
        with_caption(
            show(_laid_out(frame.numpy(), places), columns=_columns(places), width=_WIDTH),
            f"step {step} of {steps[-1]}, mean E(x, y) {mean:.2f}",
        )
        for frame, step, mean in zip(frames, steps, energies, strict=True)
    ]
    write_animation(os.path.join(folder, "chain.gif"), pictures, seconds=0.15)


def write_class_grid(path: str, shown: Shard, class_names: Sequence[str]) -> None:
    """Writes a labelled picture with one row for each class, the first images of each; a square where each has one."""
    places = _rows_of_classes(shown.labels, np.arange(len(class_names)))
    of_rows = np.repeat(np.arange(len(class_names)), places.shape[1])
    picture = show(_laid_out(shown.images, places), of_rows, columns=_columns(places), names=class_names)
    with whole_file(path) as temporary:
        picture.save(temporary)


def _rows_of_classes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """int64[K, n], the places of the first images of each class; -1 where a class has fewer than another."""
    rows = [np.flatnonzero(labels == k)[:_SHOWN_OF_CLASS] for k in classes]
    most = max(map(len, rows))
    return np.stack([np.pad(row, (0, most - len(row)), constant_values=-1) for row in rows])


def _laid_out(images: Images, places: np.ndarray) -> np.ndarray:
    """float32[K * n, H, W, C], the images at the places, and grey ones at -1."""
    blank = (places < 0)[..., None, None, None]
    return np.where(blank, np.float32(0.5), images[places]).reshape(-1, *images.shape[1:])


def _columns(places: np.ndarray) -> int | None:
    """Columns of a picture of those places: one column would be many times as high as wide."""
    return None if places.shape[1] == 1 else places.shape[1]
