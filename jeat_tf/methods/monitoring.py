"""What TensorBoard shows beyond Keras' own callback: chains, images, hyper-parameters."""

import os

import numpy as np
import tensorflow as tf
from keras.callbacks import Callback
from tensorboard.plugins.hparams import api as hparams

from jeat_tf.attacks.surrogates import marginal_energy
from jeat_tf.core.checks import admit
from jeat_tf.core.image_grid import grid
from jeat_tf.core.loops import input_gradient

_SHOWN = 64  # images in a grid
_MEASURED = 256  # buffer slots whose gradients are taken


class ChainBoard(Callback):
    """Writes chain statistics each epoch and image grids now and then, into `<log_dir>/chains`.

    Scalars: `chain/gradient` (mean |dE/dx| over buffer images), `chain/saturated` (share of buffer pixels at or
    beyond the ends of [0, 1]), `chain/age` (mean rounds since restart) and its histogram. Images: x_adv, negatives
    (one round from the buffer, not written back), buffer.
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

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._writer = tf.summary.create_file_writer(os.path.join(self.log_dir, "chains"))
        self._perturb = tf.function(self.model.objective.perturb, autograph=False)
        if self.model.objective.negatives is not None:
            self._propose = tf.function(self.model.objective.negatives.propose, autograph=False)
        with tf.summary.create_file_writer(self.log_dir).as_default():
            hparams.hparams(self.settings)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with self._writer.as_default(step=epoch):
            if self.model.replay_buffer is not None:
                self.model.gather_replicas()
                self._write_statistics()
            if self.images_every and (epoch == 0 or (epoch + 1) % self.images_every == 0):
                self._write_images()
        self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._writer.close()

    def _write_statistics(self) -> None:
        buffer = self.model.replay_buffer
        images = buffer.images.value
        gradient = input_gradient(marginal_energy(self.model), images[:_MEASURED])
        saturated = tf.reduce_mean(tf.cast((images <= 0) | (images >= 1), tf.float32))
        tf.summary.scalar("chain/gradient", tf.reduce_mean(tf.abs(gradient)))
        tf.summary.scalar("chain/saturated", saturated)
        tf.summary.scalar("chain/age", tf.reduce_mean(tf.cast(buffer.age.value, tf.float32)))
        tf.summary.histogram("chain/ages", buffer.age.value)

    def _write_images(self) -> None:
        net, seed = self.model.net, tf.constant([0, 4])
        self._write_grid("images/x_adv", self._perturb(net, self.images, self.labels, seed))
        if self.model.objective.negatives is not None:
            self._write_grid("images/negatives", self._propose(net, len(self.images), seed).x_neg)
        if self.model.replay_buffer is not None:
            self._write_grid("images/buffer", self.model.replay_buffer.images.value[:_SHOWN])

    def _write_grid(self, name: str, images: tf.Tensor) -> None:
        scale = max(1, 32 // images.shape[1])
        tf.summary.image(name, grid(images.numpy(), scale=scale)[None])
