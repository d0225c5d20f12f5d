"""What is said and shown of samples that were drawn: diagnostics of their chains, a judge's grades, pictures."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.files import write_animation
from jeat_tf.core.image_grid import grid
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Images, ImagesAndLabels
from jeat_tf.metrics.chain_diagnostics import diagnose
from jeat_tf.metrics.features import classifier_features
from jeat_tf.metrics.frechet import frechet_distance
from jeat_tf.metrics.looks import looks
from jeat_tf.metrics.scores import precision_recall
from jeat_tf.runs.samples import SampleFolder, Shard
from jeat_tf.runs.trained import stored_buffer
from jeat_tf.sample.chains import Drawing
from jeat_tf.samplers.stages import Stage

_SHOWN_OF_CLASS = 10
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
) -> dict[str, Any]:
    """What the chains did on their way, and whether the first images have collapsed, for JSON.

    Args:
      config: settings of the verb.
      stages: what was done to the images, in order.
      drawing: what drew the samples.
      shown: the first images.
      traces: of the chains, as `SampleFolder.traces` gives them.
      training: images and labels to compare with.
      starts: where the chains of the first images began.
    """
    steps = [stages[i].steps_at(done) for i, done in drawing.readings_at()] if stages else None
    seen = seen_by(drawing.net, shown.images)
    images, labels = training()
    # Whatever the order in which the training images are stored.
    few = np.random.default_rng(0).permutation(len(labels))[:_COMPARED]
    means = {name: values.mean(axis=1) for name, values in traces.items() if values.ndim == 2}
    along = {name.removeprefix("trace_"): mean.tolist() for name, mean in means.items() if name.startswith("trace_")}
    look = looks(shown.images, shown.labels, images[few], labels[few], starts=starts)
    accepted = {name: float(mean[0]) for name, mean in means.items() if name.startswith("accepted_")}
    return {
        "finite": bool(np.isfinite(shown.images).all()),
        "share_classified_as_asked_by_the_net_itself": (
            float(np.mean(seen == shown.labels)) if config.classes != "none" else None
        ),
        **diagnose(traces, shown.images, shown.labels, images[few], labels[few], seen=seen, steps=steps),
        **accepted,
        "looks": None if look is None else look._asdict(),
        "trace": {"step": traces["trace_step"].tolist()} | along,
    }


def buffer_age(config: SampleConfig) -> dict[str, float]:
    """Rounds of the chains since the slots were last started afresh."""
    buffer = stored_buffer(config.model)
    return {"buffer_age_mean": float(buffer.age.mean()), "buffer_age_max": int(buffer.age.max())} if buffer else {}


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
    config: SampleConfig, judge: keras.Model, samples: SampleFolder, starts: np.ndarray, data: Rated, test: Rated | None
) -> dict[str, Any]:
    """What an independent classifier says of all samples, of where their chains began, and of real test images.

    Args:
      config: settings of the verb.
      judge: images -> logits.
      samples: the images.
      starts: where all chains began.
      data: training images, the reference.
      test: images that no net was trained on, at most as many as there are samples are rated; None without.

    Returns:
      graded: for JSON: the samples' ratings, and those of `start_alone` and `real_images`.
    """
    reference = classifier_features(judge, data.images)
    images, labels = (np.concatenate(parts) for parts in zip(*samples.shards(), strict=True))
    found = {
        "reference": f"{len(reference)} training images",
        **_rated(judge, Rated(images, labels), data, reference),
        "start_alone": _rated(judge, Rated(starts, labels), data, reference),
    }
    if test is not None:
        few = np.random.default_rng(config.seed).permutation(len(test.labels))[: len(labels)]
        found["real_images"] = _rated(judge, Rated(test.images[few], test.labels[few]), data, reference)
        found["real_images"]["images"] = f"{len(few)} test images"
    return found


def _rated(judge: keras.Model, rated: Rated, data: Rated, reference: np.ndarray) -> dict[str, Any]:
    """A judge's view of one set of images; distances are None where an image is not finite."""
    images, labels = rated
    seen, finite = seen_by(judge, images), bool(np.isfinite(images).all())
    num_classes = judge.output_shape[-1]
    right = [float(np.mean(seen[labels == k] == k)) if np.any(labels == k) else None for k in range(num_classes)]
    near: dict[str, Any] = dict.fromkeys(("frechet_classifier_distance", "precision", "recall"))
    if finite:  # without the chains that diverged they would be those of a selection
        features = classifier_features(judge, images)
        near["frechet_classifier_distance"] = frechet_distance(features, reference)
        if min(len(features), len(reference)) > _NEIGHBOURS:
            near |= precision_recall(features[:_RATED], reference[:_RATED], k=_NEIGHBOURS)._asdict()
    look = looks(images[:_COMPARED], labels[:_COMPARED], data.images[:_RATED], data.labels[:_RATED])
    return {
        "agreement": float(np.mean((seen == labels) & (seen >= 0))),
        "agreement_of_each_class": right,
        "share_of_each_class": [float(np.mean(seen == k)) for k in range(num_classes)],
        **near,
        "saturated": None if look is None else look.saturated,
        "copies_of_each_other": None if look is None else look.copies_of_each_other,
        "copies_of_real": None if look is None else look.copies_of_real,
    }


def seen_by(net: keras.Model, images: np.ndarray) -> np.ndarray:
    """int64[N], the class that the net sees in each image; -1 in one that is not finite."""
    parts = np.array_split(images, -(-len(images) // 256))
    classes = np.concatenate([net(part, training=False).numpy().argmax(-1) for part in parts])
    return np.where(np.isfinite(images).all(axis=(1, 2, 3)), classes, -1)


def json_numbers(value: Any) -> Any:
    """The same with None in place of NaN and infinity, for which JSON has no words."""
    if isinstance(value, dict):
        return {key: json_numbers(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_numbers(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def animate(folder: str, frames: list[Images], labels: np.ndarray) -> None:
    """Writes chain.gif: the first images of each class at every reading."""
    order = np.argsort(labels, kind="stable")[: _SHOWN_OF_CLASS * _SHOWN_OF_CLASS]
    scale = max(1, 32 // frames[0].shape[1])
    write_animation(
        os.path.join(folder, "chain.gif"), [grid(frame.numpy()[order], scale=scale) for frame in frames], seconds=0.15
    )


def class_grid(shown: Shard, num_classes: int) -> np.ndarray:
    """One row for each class, the first images of each."""
    images, labels = shown
    rows = [images[labels == k][:_SHOWN_OF_CLASS] for k in range(num_classes)]
    columns = max(len(row) for row in rows)
    blank = np.full((1, *images.shape[1:]), 0.5, np.float32)
    rows = [np.concatenate([row, *[blank] * (columns - len(row))]) for row in rows]
    return grid(np.concatenate(rows), columns, scale=max(1, 32 // images.shape[1]))
