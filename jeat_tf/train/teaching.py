"""Images without labels, labelled by a net."""

import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import own_folder
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import Pixels
from jeat_tf.data.stream import evaluation_batches
from jeat_tf.runs.second_nets import SecondNet, open_second
from jeat_tf.train.images import TrainingImages


def labelled_by_teacher(
    config: TrainConfig, data: ImageData, images: TrainingImages, folder: str, train: Callable[[TrainConfig], object]
) -> tuple[TrainingImages, SecondNet]:
    """The images with labels that a net gives to those without (Carmon et al., 2019), and what is known of the net.

    Args:
      config: settings of the run.
      data: its data set.
      images: its images, some of them without labels.
      folder: of the run; a teacher of its own is trained in `teacher/` there.
      train: trains that teacher.

    Raises:
      ValueError: a net that does not fit the data, or one that is no better than guessing.
    """
    named = config.stream.pseudo_labels
    own = named == "self"
    if own:
        named = own_folder(os.path.join(folder, "teacher"))
        train(config.teacher(named))
    assert images.extra is not None  # settings without them are refused
    known = images.held_out or images.labelled
    teacher = open_second(named, "pseudo_labels", data, Pixels(known[0]), known[1], any_accuracy=own)
    added, unknown = images.extra
    batches = evaluation_batches(tf.data.Dataset.from_tensor_slices((added, unknown)), 256)
    seen: np.ndarray = teacher.net.predict(batches, verbose=0)
    return images._replace(extra=(added, seen.argmax(-1).astype(unknown.dtype))), teacher.found
