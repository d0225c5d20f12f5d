"""The sets of images whose scores `evaluate` takes, and what they are compared with: read and checked beforehand."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.checks import check_labels
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import Pixels
from jeat_tf.evaluate.opened import Evaluated
from jeat_tf.metrics import features
from jeat_tf.metrics.protocol import Protocol
from jeat_tf.runs.results import Subject
from jeat_tf.runs.sample_results import SampleIdentity
from jeat_tf.runs.samples import SampleFolder, Shard, in_blocks
from jeat_tf.runs.second_nets import SecondNet, open_second_of
from jeat_tf.runs.trained import conditional_buffer, output_folder, stored_buffer

_LEAST = 6  # images that density and coverage need on either side


class ImageSet(NamedTuple):
    """One set of images.

    Attributes:
      shards: the images in [0, 1], some thousand at a time, each time from the first one.
      protocol: how their scores come about.
      conditional: whether the labels are requested classes.
    """

    shards: Callable[[], Iterator[Shard]]
    protocol: Protocol
    conditional: bool


class Generated(NamedTuple):
    """What is measured and what it is compared with, read and checked.

    Attributes:
      sets: generated images by name.
      looking: the feature net.
      classifier: what is known of it, where it is a classifier of the same images.
      classes: of the feature net.
      real: images of the reference split.
      labels: their classes.
      held_out: images of the split that is evaluated; None where that is the reference.
    """

    sets: dict[str, ImageSet]
    looking: features.FeatureNet
    classifier: SecondNet | None
    classes: int
    real: Pixels
    labels: np.ndarray
    held_out: Pixels | None


def open_generated(config: EvaluateConfig, evaluated: Evaluated) -> Generated:
    """Reads what `measure_generation` needs, all files of samples included, so that it does not fail half-way.

    Raises:
      ValueError: bad settings, an unusable feature net or one of other classes, or samples that are missing, damaged,
        not pixels, too few, or not of this net and data set.
      FileNotFoundError: the data set is not prepared.
    """
    wanted, data = config.generation, evaluated.dataset
    if wanted.neighbours < 0 or wanted.score_splits < 1:
        raise ValueError("expected --neighbours >= 0 and --score_splits >= 1")
    _check_features(config)
    looking, classifier = _feature_net(config, data)
    images, labels = data.arrays(wanted.reference_split)
    real = Pixels(images)
    protocol = functools.partial(
        Protocol,
        reference_data=data.name,
        reference_split=wanted.reference_split,
        reference_count=len(real),
        feature_net=looking.name,
        feature_kind=looking.kind,
        feature_sha256=looking.sha256,
        resize=looking.resize,
        splits=wanted.score_splits,
    )
    sets = {"fresh_chains": _fresh_chains(config, evaluated, protocol)}
    held_out = None
    if config.split != wanted.reference_split and not (config.split == "test" and "test" not in data.splits):
        images, of_images = data.arrays(config.split)
        held_out = Pixels(images)
        if len(held_out) >= max(data.num_classes, wanted.score_splits, _LEAST):
            sets["real_images"] = _real_images(config.split, held_out, of_images, protocol)
    if (buffer := _replay_buffer(config, evaluated, protocol)) is not None:
        sets["replay_buffer"] = buffer
    try:
        classes = looking.of(real[:2])[1].shape[1]
    except ValueError as error:
        raise ValueError(f"--features={wanted.features}: {error}") from error
    for name, one in sets.items():
        _check_number(name, one.protocol.n, max(classes, wanted.score_splits, _LEAST))
    _check_number(f"the split {wanted.reference_split}", len(real), _LEAST)
    return Generated(sets, looking, classifier, classes, real, labels, held_out)


def _check_number(name: str, num: int, least: int) -> None:
    if num < least:
        raise ValueError(
            f"expected at least {least} images in {name} (as many as classes of the feature net and as --score_splits, "
            f"and {_LEAST} in any case), received {num}"
        )


def _check_features(config: EvaluateConfig) -> None:
    if not config.generation.features:
        raise ValueError(
            "expected --features, received nothing: a .keras classifier of the same images (no download; it gives a "
            "classifier score and a Frechet classifier distance), inception, or keras_inception"
        )


def _feature_net(config: EvaluateConfig, data: ImageData) -> tuple[features.FeatureNet, SecondNet | None]:
    wanted = config.generation
    if wanted.features == "inception":
        return features.inception_2015(wanted.features_path, sha256=wanted.features_sha256), None
    if wanted.features == "keras_inception":
        return features.keras_inception(wanted.features_path or "imagenet"), None
    judge = open_second_of(wanted.features, "features", data)
    try:
        return features.classifier(judge.net), judge.found
    except ValueError as error:
        raise ValueError(f"--features={wanted.features}: {error}") from error


def _fresh_chains(config: EvaluateConfig, evaluated: Evaluated, protocol: Callable[..., Protocol]) -> ImageSet:
    where = config.generation.generation
    folder = SampleFolder(output_folder(config.model, "", "samples") if where == "samples" else where)
    data, drawn = evaluated.dataset, folder.identity()
    _check_origin(folder.path, drawn, evaluated.subject)
    num, clipped = 0, any("clip_pixels=false" in stage for stage in drawn.stages)
    for images, labels in folder.shards():
        if images.shape[1:] != data.image_shape or len(images) != len(labels):
            raise ValueError(
                f"expected images of shape {list(data.image_shape)}, each with a label, in {folder.path}, received "
                f"images {list(images.shape)} and labels {list(labels.shape)}"
            )
        check_labels(labels, data.num_classes)
        clipped |= not np.array_equal(_clipped(images, folder.path), images)
        num += len(images)
    return ImageSet(
        lambda: (Shard(_clipped(images, folder.path), labels) for images, labels in folder.shards()),
        protocol(
            n=num,
            samples="fresh chains" if drawn.stages else "start alone",
            classes=drawn.classes,
            selection=drawn.selection + ("; clipped to [0, 1]" if clipped else ""),
            start=drawn.start,
            stages=drawn.stages,
            steps=drawn.steps,
            seed=drawn.seed,
            generator_sha256=drawn.weights_sha256,
        ),
        conditional=drawn.classes != "none",
    )


def _real_images(split: str, images: Pixels, labels: np.ndarray, protocol: Callable[..., Protocol]) -> ImageSet:
    """The control: images of the split that is evaluated."""
    return ImageSet(
        lambda: in_blocks(images, labels),
        protocol(
            n=len(labels),
            samples="given",
            classes="as in the data",
            selection=f"none; real images of the split {split}",
            start="none",
            stages=(),
            steps=0,
            seed=0,
            generator_sha256="none",
        ),
        conditional=True,
    )


def _replay_buffer(config: EvaluateConfig, evaluated: Evaluated, protocol: Callable[..., Protocol]) -> ImageSet | None:
    """The replay buffer of the net's run; None without."""
    buffer, run = stored_buffer(config.model), evaluated.run
    if buffer is None or run is None:
        return None
    labels = np.arange(len(buffer.images)) % evaluated.dataset.num_classes
    shard = Shard(_clipped(buffer.images, "the replay buffer"), labels.astype(np.int64))
    return ImageSet(
        lambda: iter([shard]),
        protocol(
            n=len(labels),
            samples="replay buffer",
            classes="of the slots, in turn" if conditional_buffer(run) else "none",
            selection="none; clipped to [0, 1]",
            start=repr(getattr(run.method, "start", None)),
            stages=(f"training chains, {float(buffer.age.mean()):.1f} rounds since the restart on average",),
            steps=getattr(getattr(run.method, "chain", None), "steps", 0),
            seed=run.run.seed,
            generator_sha256=evaluated.subject.weights_sha256,
        ),
        conditional=conditional_buffer(run),
    )


def _check_origin(path: str, drawn: SampleIdentity, net: Subject) -> None:
    """Raises ValueError unless samples of the identity `drawn` are of this net, used alike, and of this data set."""
    if drawn.weights_sha256 != net.weights_sha256:
        raise ValueError(
            f"expected samples of {net.model} (weights {net.weights_sha256[:12]}...) in {path}, received samples of a "
            f"net with weights {drawn.weights_sha256[:12]}...; give the net that drew them as --model, or draw samples "
            "of this one"
        )
    if drawn.dataset != net.dataset:
        raise ValueError(
            f"expected samples of {net.dataset} in {path}, received samples of {drawn.dataset}; give that as --dataset"
        )
    if drawn.changes != net.changes:
        raise ValueError(
            f"expected samples in {path} of the net that is evaluated, received samples of the same weights otherwise "
            f"used ({'; '.join(drawn.changes) or 'as they are'}); give the flags of `python -m jeat_tf.sample`, such "
            "as --pixels and --head"
        )


def _clipped(images: np.ndarray, where: str) -> np.ndarray:
    """Images in [0, 1], which chains whose pixels are free may leave and no feature net takes."""
    if not np.isfinite(images).all():
        raise ValueError(f"expected finite images in {where}, received NaN or infinity: the chains have diverged")
    return np.clip(images, 0, 1)
