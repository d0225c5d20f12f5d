"""TensorBoard's events of a training: logs, chains, images, settings, and the charts that it opens with."""

import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams

from jeat_tf.attacks.surrogates import marginal_energy
from jeat_tf.core.checks import admit
from jeat_tf.core.image_grid import grid
from jeat_tf.core.loops import input_gradient
from jeat_tf.methods import board_tags
from jeat_tf.methods.board_tags import Tag, charts, tag_of

_SHOWN = 64  # images in a grid
_MEASURED = 256  # buffer slots whose gradients are taken
_CATEGORY = "What to watch"


class Board(keras.callbacks.Callback):
    """Writes a training of an `EnergyClassifier` as one run of TensorBoard, in place of Keras' `TensorBoard`.

    Each epoch it writes all logs in groups (`loss/`, `accuracy/`, `energy/`, `chain/`, `buffer/`, `optimizer/`), and
    now and then grids of images. Every tag has a description. The Custom Scalars tab opens with the charts that one
    watches, the HParams tab has the settings. The horizontal axis is training steps.

    Put it after callbacks that add logs, such as `RobustAccuracy`.
    """

    def __init__(
        self,
        log_dir: str,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        settings: dict[str, str | int | float | bool] | None = None,
        images_every: int = 5,
    ):
        """
        Args:
          log_dir: TensorBoard folder of the run.
          images: float[N, H, W, C] in [0, 1], shown perturbed.
          labels: int[N].
          settings: shown in the HParams tab.
          images_every: epochs between grids; 0 writes none.
        """
        super().__init__()
        self.log_dir = log_dir
        self.images, self.labels = map(tf.constant, admit(images[:_SHOWN], labels[:_SHOWN]))
        self.settings = settings or {}
        self.images_every = images_every
        self._opened: Any = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        objective = self.model.objective
        self._perturb = tf.function(objective.perturb, autograph=False)
        if objective.negatives is not None:
            self._propose = tf.function(objective.negatives.propose, autograph=False)
        layout = _layout(charts(objective.terms, buffer=self.model.replay_buffer is not None))
        with self._writer.as_default(step=0):
            hparams.hparams(self.settings)
            tf.summary.experimental.write_raw_pb(custom_scalar.pb(layout).SerializeToString())

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        with self._writer.as_default(step=self.model.steps_taken):
            for name, value in ((logs or {}) | {"learning_rate": rate}).items():
                if not name.startswith("latest_"):  # of the epoch's last step, for the guard
                    _write_scalar(tag_of(name, self.model.objective.terms), value)
            if self.model.replay_buffer is not None:
                self.model.gather_replicas()
                self._write_statistics()
            if self.images_every and (epoch == 0 or (epoch + 1) % self.images_every == 0):
                self._write_images()
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def tell(self, step: int, recoveries: int, line: str) -> None:
        """Writes an event of a guard: how often it has recovered at that step, and what has happened."""
        with self._writer.as_default(step=step):
            _write_scalar(board_tags.RECOVERIES, recoveries)
            tf.summary.text(board_tags.EVENT.name, line, description=board_tags.EVENT.description)
        self._writer.flush()

    @property
    def _writer(self) -> Any:
        """The only one: TensorBoard follows one file of a run at a time."""
        if self._opened is None:
            self._opened = tf.summary.create_file_writer(self.log_dir)
        return self._opened

    def _write_statistics(self) -> None:
        buffer = self.model.replay_buffer
        images = buffer.images.value
        gradient = input_gradient(marginal_energy(self.model), images[:_MEASURED])
        _write_scalar(board_tags.GRADIENT, tf.reduce_mean(tf.abs(gradient)))
        _write_scalar(board_tags.AT_ENDS, tf.reduce_mean(tf.cast((images <= 0) | (images >= 1), tf.float32)))
        _write_scalar(board_tags.AGE, tf.reduce_mean(tf.cast(buffer.age.value, tf.float32)))
        tf.summary.histogram(board_tags.AGES.name, buffer.age.value, description=board_tags.AGES.description)

    def _write_images(self) -> None:
        net, seed = self.model.net, tf.constant([0, 4])
        _write_grid(board_tags.X_ADV, self._perturb(net, self.images, self.labels, seed))
        if self.model.objective.negatives is not None:
            _write_grid(board_tags.NEGATIVES, self._propose(net, len(self.images), seed).x_neg)
        if self.model.replay_buffer is not None:
            _write_grid(board_tags.BUFFER, self.model.replay_buffer.images.value[:_SHOWN])


def _write_scalar(tag: Tag, value: Any) -> None:
    tf.summary.scalar(tag.name, value, description=tag.description)


def _write_grid(tag: Tag, images: tf.Tensor) -> None:
    scale = max(1, 32 // images.shape[1])
    tf.summary.image(tag.name, grid(images.numpy(), scale=scale)[None], description=tag.description)


def _layout(shown: dict[str, list[str]]) -> layout_pb2.Layout:
    """A page of charts, of the tags of each by title."""
    category = layout_pb2.Category(title=_CATEGORY)
    for title, tags in shown.items():
        content = layout_pb2.MultilineChartContent(tag=[f"^{re.escape(tag)}$" for tag in tags])
        category.chart.append(layout_pb2.Chart(title=title, multiline=content))
    return layout_pb2.Layout(category=[category])
