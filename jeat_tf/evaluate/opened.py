"""The net and the images that an evaluation is about, read once for all of its measures."""

import os
from typing import NamedTuple

from jeat_tf.config import build
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.shared import Data
from jeat_tf.config.train import TrainConfig
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import LabelledImages, first_of_split
from jeat_tf.models.files import net_file
from jeat_tf.models.foreign import Adapted
from jeat_tf.runs.fit import check_fit
from jeat_tf.runs.results import Subject, subject_of
from jeat_tf.runs.trained import class_names_of_run, data_of_run, run_config


class Evaluated(NamedTuple):
    """What is evaluated.

    Attributes:
      read: the net, images in [0, 1] -> logits, and what was done to get it.
      run: settings of its run; None for a net from elsewhere.
      dataset: the whole data set.
      data: the images of it that are measured, with their labels.
      subject: net and images, as every record names them.
    """

    read: Adapted
    run: TrainConfig | None
    dataset: ImageData
    data: LabelledImages
    subject: Subject


def open_evaluated(config: EvaluateConfig) -> Evaluated:
    """Reads the net and the images.

    Raises:
      ValueError: no readable net, no data set named, training images that would pass for test images, or a net that
        does not fit the data.
      FileNotFoundError: the data set is not prepared.
    """
    file, run = net_file(config.model), run_config(config.model)
    read, wanted = config.origin.read(config.model), data_of_run(config.data, run)
    if not wanted.dataset:
        raise ValueError("expected --dataset, received nothing: a TFDS name, a folder of images, or an .npz file")
    dataset = build.dataset(wanted)
    if run is not None and config.split == "test" and "test" not in dataset.splits:
        _refuse_training_images(wanted, run)
    data = first_of_split(dataset, config.split, count=config.num_images)
    trained_on = class_names_of_run(config.model)
    if trained_on and data.class_names and trained_on != data.class_names:
        raise ValueError(
            f"expected the classes that the run was trained on, {', '.join(trained_on)}, received "
            f"{', '.join(data.class_names)} in {wanted.dataset}; give the folders of classes the same names"
        )
    check_fit(read.net, data.name, data.image_shape, data.num_classes)
    return Evaluated(read, run, dataset, data, subject_of(read, file, data, config.seed))


def _refuse_training_images(data: Data, run: TrainConfig) -> None:
    """Raises ValueError where the images of a run that has one set of them would pass for test images."""
    if os.path.realpath(data.dataset) == os.path.realpath(run.data.dataset) and os.path.exists(data.dataset):
        raise ValueError(
            f"expected test images, received {data.dataset}, on which the run was trained; give others by "
            f"--dataset, or say --split=train to measure on these"
        )
