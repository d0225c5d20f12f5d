"""What is said and shown of samples that were drawn: diagnostics of their chains, a judge's grades, pictures."""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.files import whole_file, write_animation
from jeat_tf.core.image_grid import grid
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Images, ImagesAndLabels
from jeat_tf.figures.show import show
from jeat_tf.metrics.chain_diagnostics import diagnose
from jeat_tf.metrics.features import classifier_features
from jeat_tf.metrics.frechet import frechet_distance
from jeat_tf.metrics.looks import looks
from jeat_tf.metrics.scores import PrecisionRecall, precision_recall
from jeat_tf.runs.sample_results import Diagnostics, Judgement, Rating
from jeat_tf.runs.samples import SampleFolder, Shard
from jeat_tf.runs.second_nets import Opened
from jeat_tf.runs.trained import StoredBuffer
from jeat_tf.sample.chains import Drawing
from jeat_tf.samplers.stages import Stage

_SHOWN_OF_CLASS = 10
_WIDTH = 400  # pixels of the animation, about
_COMPARED = 2000  # samples, and training images, that the diagnostics compare
_RATED = 10_000  # images of a side among which neighbours are looked for
_NEIGHBOURS = 3  # of precision and recall


class Rated(NamedTuple):
    """Images float32[N, H, W, C] and their classes int64[N]."""

    images: np.ndarray
    labels: np.ndarray


def first_images(samples: SampleFolder, num_classes: int) -> Shard:
    """The first images, enough of them to show and to compare, without reading all."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for shard in samples.shards():
        images.append(shard.images)
        labels.append(shard.labels)
        if sum(map(len, labels)) >= max(_SHOWN_OF_CLASS * num_classes, _COMPARED):
            break
    return Shard(np.concatenate(images), np.concatenate(labels))


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
      buffer: of whose slots they began; None without.
    """
    steps = [stages[i].steps_at(done) for i, done in drawing.readings_at()] if stages else None
    seen = seen_by(drawing.net, shown.images)
    images, labels = training()
    # Whatever the order in which the training images are stored.
    few = np.random.default_rng(0).permutation(len(labels))[:_COMPARED]
    means = {name: values.mean(axis=1) for name, values in traces.items() if values.ndim == 2}
    along = {
        name.removeprefix("trace_"): tuple(mean.tolist()) for name, mean in means.items() if name.startswith("trace_")
    }
    look = looks(shown.images, shown.labels, images[few], labels[few], starts=starts)
    accepted = {name.removeprefix("accepted_by_"): float(m[0]) for name, m in means.items() if name.startswith("acc")}
    found = diagnose(traces, shown.images, shown.labels, images[few], labels[few], seen=seen, steps=steps)
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


def starts_of(config: SampleConfig, drawing: Drawing, labels: np.ndarray) -> np.ndarray:
    """Where the chains of the first images began, as many as labels are given."""
    batches = range(0, len(labels), config.batch_size)
    seed = tf.constant([config.seed, 6])
    parts = [
        drawing.start(tf.constant(labels[i : i + config.batch_size]), fold_in(seed, i // config.batch_size)).numpy()
        for i in batches
    ]
    return np.concatenate(parts)


def judged(
    opened: Opened, samples: SampleFolder, starts: np.ndarray, data: Rated, test: Rated | None, *, seed: int
) -> Judgement:
    """What an independent classifier says of all samples, of where their chains began, and of real test images.

    Args:
      opened: the judge.
      samples: the images.
      starts: where all chains began.
      data: training images, the reference.
      test: images that no net was trained on, at most as many as there are samples are rated; None without.
      seed: that picks these.
    """
    judge, known = opened
    reference = classifier_features(judge, data.images)
    images, labels = (np.concatenate(parts) for parts in zip(*samples.shards(), strict=True))
    real = None
    if test is not None:
        few = np.random.default_rng(seed).permutation(len(test.labels))[: len(labels)]
        real = _rated(judge, Rated(test.images[few], test.labels[few]), data, reference)
        real = dataclasses.replace(real, images=f"{len(few)} test images")
    return Judgement(
        **vars(_rated(judge, Rated(images, labels), data, reference)),
        net=known.model,
        weights_sha256=known.weights_sha256,
        changes=known.changes,
        accuracy=known.accuracy,
        accuracy_images=known.images,
        reference=f"{len(reference)} training images",
        start_alone=_rated(judge, Rated(starts, labels), data, reference),
        real_images=real,
    )


def _rated(judge: keras.Model, rated: Rated, data: Rated, reference: np.ndarray) -> Rating:
    """A judge's view of one set of images; distances are None where an image is not finite."""
    images, labels = rated
    seen, finite = seen_by(judge, images), bool(np.isfinite(images).all())
    num_classes = judge.output_shape[-1]
    right = [float(np.mean(seen[labels == k] == k)) if np.any(labels == k) else None for k in range(num_classes)]
    distance: float | None = None
    near: PrecisionRecall | None = None
    if finite:  # without the chains that diverged they would be those of a selection
        features = classifier_features(judge, images)
        distance = frechet_distance(features, reference)
        if min(len(features), len(reference)) > _NEIGHBOURS:
            near = precision_recall(features[:_RATED], reference[:_RATED], k=_NEIGHBOURS)
    look = looks(images[:_COMPARED], labels[:_COMPARED], data.images[:_RATED], data.labels[:_RATED])
    return Rating(
        agreement=float(np.mean((seen == labels) & (seen >= 0))),
        agreement_of_each_class=tuple(right),
        share_of_each_class=tuple(float(np.mean(seen == k)) for k in range(num_classes)),
        frechet_classifier_distance=distance,
        precision=near and near.precision,
        recall=near and near.recall,
        saturated=look and look.saturated,
        copies_of_each_other=look and look.copies_of_each_other,
        copies_of_real=look and look.copies_of_real,
    )


def seen_by(net: keras.Model, images: np.ndarray) -> np.ndarray:
    """int64[N], the class that the net sees in each image; -1 in one that is not finite."""
    parts = np.array_split(images, -(-len(images) // 256))
    classes = np.concatenate([net(part, training=False).numpy().argmax(-1) for part in parts])
    return np.where(np.isfinite(images).all(axis=(1, 2, 3)), classes, -1)


def animate(folder: str, frames: list[Images], labels: np.ndarray) -> None:
    """Writes chain.gif: the first images of each class at every reading."""
    order = np.argsort(labels, kind="stable")[: _SHOWN_OF_CLASS * _SHOWN_OF_CLASS]
    scale = max(1, round(_WIDTH / math.sqrt(len(order)) / frames[0].shape[2]))
    write_animation(
        os.path.join(folder, "chain.gif"), [grid(frame.numpy()[order], scale=scale) for frame in frames], seconds=0.15
    )


def write_class_grid(path: str, shown: Shard, class_names: Sequence[str]) -> None:
    """Writes a labelled picture with one row for each class, the first images of each."""
    images, labels = shown
    num_classes = len(class_names)
    rows = [images[labels == k][:_SHOWN_OF_CLASS] for k in range(num_classes)]
    columns = max(len(row) for row in rows)
    blank = np.full((1, *images.shape[1:]), 0.5, np.float32)
    rows = [np.concatenate([row, *[blank] * (columns - len(row))]) for row in rows]
    of_rows = np.repeat(np.arange(num_classes), columns)
    with whole_file(path) as temporary:
        show(np.concatenate(rows), of_rows, columns=columns, names=class_names).save(temporary)
