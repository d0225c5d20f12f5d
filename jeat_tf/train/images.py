"""The images that a run trains and validates on: with labels, without, held out; and the stream of them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.config.shared import size_of
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.checks import check_labels
from jeat_tf.core.types import ImagesAndLabels
from jeat_tf.data.augment import AUGMENTATIONS, usual_augmentation
from jeat_tf.data.datasets import open_unlabelled, split_names
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.stream import own_share, training_stream
from jeat_tf.methods.updates import Free


class TrainingImages(NamedTuple):
    """Images uint8, or float32 in [0, 1], [N, H, W, C] and labels int64[N] of a run.

    Attributes:
      labelled: images whose labels are used.
      extra: images without labels (-1, or pseudo-labels), or None.
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
    if config.stream.train_images:
        if config.stream.train_images > len(labels):
            raise ValueError(f"expected --train_images of at most {len(labels)}, received {config.stream.train_images}")
        kept = np.random.default_rng([config.run.seed, 1]).permutation(len(labels))[: config.stream.train_images]
        images, labels = images[np.sort(kept)], labels[np.sort(kept)]
    extra = []
    if config.stream.labelled_percent < 100:
        order = np.random.default_rng(config.run.seed).permutation(len(labels))
        used, unused = np.split(order, [round(len(order) * config.stream.labelled_percent / 100)])
        extra.append(images[np.sort(unused)])
        images, labels = images[np.sort(used)], labels[np.sort(used)]
    if config.stream.extra_dataset:
        more = open_unlabelled(
            config.stream.extra_dataset,
            "train",
            config.data.data_dir or None,
            download=config.data.download,
            image_size=size_of(config.data.image_size),
        ).images
        if more.shape[1:] != data.image_shape or more.dtype != images.dtype:
            raise ValueError(
                f"expected images of type {images.dtype} and shape {list(data.image_shape)}, as of --dataset, in "
                f"--extra_dataset, received {more.dtype} of shape {list(more.shape[1:])}"
            )
        extra.append(more)
    unlabelled = None
    if extra:
        added = np.concatenate(extra)
        unlabelled = (added, np.full(len(added), -1, labels.dtype))
    return TrainingImages((images, labels), unlabelled, data.arrays(validation) if validation else None)


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
    others = 0 if beside is None else len(beside[0])
    if own > size or batch - own > others:
        limits = f"at most {size}, the training images"
        if beside is not None:
            limits = f"at most {size} images with labels and {others} without"
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
