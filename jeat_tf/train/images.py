"""The images that a run trains and validates on: with labels, without, held out; and the stream of them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.config.shared import size_of
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.checks import check_labels
from jeat_tf.core.types import ImagesAndLabels
from jeat_tf.data.augment import AUGMENTATIONS, usual_augmentation
from jeat_tf.data.datasets import open_dataset, open_unlabelled, split_names
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.stream import own_share, training_stream
from jeat_tf.methods.updates import Free
from jeat_tf.runs.samples import SampleFolder, is_sample_folder, to_bytes


class TrainingImages(NamedTuple):
    """Images uint8, or float32 in [0, 1], [N, H, W, C] and labels int64[N] of a run.

    Attributes:
      labelled: images whose labels are used.
      extra: other images, with labels or without (-1, or pseudo-labels), or None.
      held_out: validation images, or None.
    """

    labelled: ImagesAndLabels
    extra: ImagesAndLabels | None
    held_out: ImagesAndLabels | None


def training_images(config: TrainConfig, data: ImageData) -> TrainingImages:
    """What the settings say of the data set, its labels and other images; read into memory.

    Raises:
      ValueError: bad labels, or other images that do not fit.
    """
    training, validation = split_names(data, config.stream.validation_percent, config.run.seed)
    images, labels = data.arrays(training)
    check_labels(labels, data.num_classes)
    if data.num_classes < 2:
        raise ValueError(f"expected images of at least 2 classes in {data.name}, received {data.num_classes}")
    if config.stream.train_images:
        if config.stream.train_images > len(labels):
            raise ValueError(f"expected --train_images of at most {len(labels)}, received {config.stream.train_images}")
        kept = np.random.default_rng([config.run.seed, 1]).permutation(len(labels))[: config.stream.train_images]
        images, labels = images[np.sort(kept)], labels[np.sort(kept)]
    extra: list[ImagesAndLabels] = []
    if config.stream.labelled_percent < 100:
        order = np.random.default_rng(config.run.seed).permutation(len(labels))
        used, unused = np.split(order, [round(len(order) * config.stream.labelled_percent / 100)])
        extra.append((images[np.sort(unused)], np.full(len(unused), -1, labels.dtype)))
        images, labels = images[np.sort(used)], labels[np.sort(used)]
    if config.stream.extra_dataset:
        extra.append(_extra_dataset(config, data, images.dtype))
    added = (
        (np.concatenate([part[0] for part in extra]), np.concatenate([part[1] for part in extra])) if extra else None
    )
    return TrainingImages((images, labels), added, data.arrays(validation) if validation else None)


def _extra_dataset(config: TrainConfig, data: ImageData, dtype: np.dtype) -> ImagesAndLabels:
    """The images of --extra_dataset, of the type of the data set's, and their labels: -1 unless they are kept.

    Raises:
      ValueError: images of another shape, or labels that are no classes of the data set.
    """
    name, kept = config.stream.extra_dataset, config.stream.extra_labels
    place, size = config.data.data_dir or None, size_of(config.data.image_size)
    if is_sample_folder(name):
        shards = list(SampleFolder(name).shards())
        images = np.clip(np.concatenate([shard.images for shard in shards]), 0, 1)
        labels = np.concatenate([shard.labels for shard in shards])
        if not np.isfinite(images).all():
            raise ValueError(f"expected finite images in --extra_dataset {name}, received some that are not")
    elif kept:
        found = open_dataset(name, place, download=config.data.download, image_size=size)
        if found.named and data.named and tuple(found.class_names) != tuple(data.class_names):
            raise ValueError(
                f"expected the classes of --dataset in --extra_dataset {name}, {', '.join(data.class_names[:3])}, ..., "
                f"received {', '.join(found.class_names[:3])}, ...; leave --extra_labels out"
            )
        images, labels = found.arrays("train")
    else:
        images = open_unlabelled(name, "train", place, download=config.data.download, image_size=size).images
    if dtype == np.uint8 and images.dtype != np.uint8:
        images = to_bytes(images)
    if images.shape[1:] != data.image_shape or images.dtype != dtype:
        raise ValueError(
            f"expected images of type {dtype} and shape {list(data.image_shape)}, as of --dataset, in "
            f"--extra_dataset, received {images.dtype} of shape {list(images.shape[1:])}"
        )
    if not kept:
        return images, np.full(len(images), -1, np.int64)
    try:
        check_labels(labels, data.num_classes)
    except ValueError as error:
        raise ValueError(
            f"--extra_labels keeps the labels of {name}, which are no classes of --dataset: {error}"
        ) from None
    return images, labels


def replays(config: TrainConfig) -> int:
    """Times that each batch is served."""
    return config.update.replays if isinstance(config.update, Free) else 1


def steps_in_epoch(config: TrainConfig, images: TrainingImages) -> int:
    """Batches that pass over the labelled images once.

    Raises:
      ValueError: a batch needs more images than there are.
    """
    batch, size = config.stream.batch_size, len(images.labelled[0])
    # With a stream of its own for p(x), images of unknown label are there alone.
    beside = images.extra if not (config.stream.separate_marginal and config.unlabelled) else None
    own = batch if beside is None else own_share(batch, config.stream.extra_share)
    if own < 1:
        raise ValueError(f"expected --batch_size of at least 2, for own images and others, received {batch}")
    others = 0 if beside is None else len(beside[0])
    if own > size or batch - own > others:
        limits = f"at most {size}, the training images"
        if beside is not None:
            limits = f"at most {size} of its own images and {others} others"
        raise ValueError(f"expected --batch_size of {limits}, received {batch}")
    return size // own * replays(config)


def stream(config: TrainConfig, data: ImageData, images: TrainingImages, *, first_step: int) -> tf.data.Dataset:
    """Endless training batches from that step on."""
    augment = config.stream.augment
    return training_stream(
        *images.labelled,
        batch_size=config.stream.batch_size,
        seed=config.run.seed,
        first_step=first_step,
        augment=AUGMENTATIONS[usual_augmentation(data.name) if augment == "usual" else augment],
        separate_marginal=config.stream.separate_marginal,
        augment_marginal=config.stream.augment_marginal,
        extra=images.extra,
        extra_share=config.stream.extra_share,
        replays=replays(config),
    )
