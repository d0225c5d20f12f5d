"""What `--model` means: a net, the settings it was trained with if they are there, and the data it fits."""

import dataclasses
import os
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np

from jeat_tf.config import build
from jeat_tf.config.shared import Data
from jeat_tf.config.store import read_settings
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import sha256
from jeat_tf.core.generations import newest
from jeat_tf.data.image_data import ImageData
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.models.origin import Origin
from jeat_tf.runs.fit import check_fit
from jeat_tf.runs.training import read_training


class Trained(NamedTuple):
    """A net that was read from a file.

    Attributes:
      net: images -> logits.
      file: where it was.
      config: settings of its run, None for a net from elsewhere.
      data: the data set that was named, or else that of the run.
      changes: what was done to the net to get it, one sentence each.
    """

    net: keras.Model
    file: str
    config: TrainConfig | None
    data: ImageData
    changes: tuple[str, ...] = ()

    def identity(self) -> dict[str, Any]:
        """What names this net and data in a report."""
        return {
            "model": self.file,
            "model_sha256": sha256(self.file),
            "weights_sha256": weights_sha256(self.net),
            "dataset": self.data.name,
            "changes": self.changes,
        }


def open_trained(model: str, data: Data, origin: Origin | None = None) -> Trained:
    """Reads the net and opens its data.

    Args:
      model: folder of a training run, or a .keras file.
      data: the data set; its empty fields are filled from the run's settings.
      origin: where the net is from; None where it is of this library.

    Raises:
      ValueError: no readable net, a run's net that is not the one it wrote, no data set named, or a net that does not
        fit the data.
      FileNotFoundError: the data set is not prepared.
    """
    read, config = (origin or Origin()).read(model), run_config(model)
    _check_written(model, read.net)
    opened = build.dataset(data_of_run(data, config))
    check_fit(read.net, opened.name, opened.image_shape, opened.num_classes)
    return Trained(read.net, net_file(model), config, opened, read.changes)


def _check_written(model: str, net: keras.Model) -> None:
    """Raises ValueError for the net.keras of a run whose weights are not those that its train.json names."""
    path = os.path.join(_folder(model), "net.keras")
    if os.path.realpath(net_file(model)) != os.path.realpath(path):
        return
    training = read_training(_folder(model))
    if training is not None and training.weights_sha256 != weights_sha256(net):
        raise ValueError(
            f"{path} is not the net that the run in {_folder(model)} wrote: the SHA-256 of its weights is not that in "
            "train.json. Give the command of the training again, or copy the net to another folder to use it by itself"
        )


def data_of_run(data: Data, config: TrainConfig | None) -> Data:
    """The data set that was named, or else that of the run; its images have the size of the run's."""
    if config is None:
        return data
    own = config.data
    data = dataclasses.replace(data, image_size=data.image_size or own.image_size)
    if data.dataset:
        return data
    return dataclasses.replace(data, dataset=own.dataset, data_dir=data.data_dir or own.data_dir)


def run_config(model: str) -> TrainConfig | None:
    """The settings of the run that --model names, or of the run that a .keras file lies in; None without."""
    path = os.path.join(_folder(model), "config.json")
    if not os.path.isfile(path):
        return None
    return read_settings(TrainConfig, path)


def class_names_of_run(model: str) -> tuple[str, ...]:
    """The names of the classes that the run of a net was trained on; empty where they are not known."""
    training = read_training(_folder(model))
    return () if training is None else training.class_names


class StoredBuffer(NamedTuple):
    """The replay buffer of a run.

    Attributes:
      images: float32[size, H, W, C]; slot i belongs to class i mod K.
      age: int32[size], rounds of the chain since the slot was last started afresh.
    """

    images: np.ndarray
    age: np.ndarray


def stored_buffer(model: str) -> StoredBuffer | None:
    """The replay buffer in a run's checkpoint; None where the run, or the checkpoint, has none.

    Raises:
      ValueError: no state is intact.
    """
    found = newest(_folder(model))
    if found.path is None:
        if found.broken:
            what = "; ".join(f"{path} ({why})" for path, why in found.broken.items())
            raise ValueError(f"cannot read the replay buffer in {what}; it is damaged, train on to write it again")
        return None
    path = found.path
    try:
        with h5py.File(path, "r") as f:
            stored = f.get("layers/replay_buffer/vars")
            return None if stored is None else StoredBuffer(np.asarray(stored["0"]), np.asarray(stored["1"]))
    except (OSError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"cannot read the replay buffer in {path}: {error}; it is damaged, train on to write it again"
        ) from error


def conditional_buffer(run: TrainConfig | None) -> bool:
    """Whether the slots of a run's replay buffer keep to classes: only chains of p(x | y) do, as all of IGEBM's."""
    return run is not None and getattr(run.method, "class_conditional", False)


def output_folder(model: str, given: str, name: str) -> str:
    """The folder given, or else `name` beside the net; a file that is not a run's net has a folder of its own."""
    stem = os.path.splitext(os.path.basename(model))[0] if os.path.isfile(model) else "net"
    return given or os.path.join(_folder(model), name if stem in ("net", "best") else f"{name}-{stem}")


def _folder(model: str) -> str:
    return model if os.path.isdir(model) else os.path.dirname(os.path.abspath(model))
