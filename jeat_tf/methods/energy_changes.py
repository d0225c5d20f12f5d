"""How an attack and a step of training change the energy of images, recorded during `fit` (JEAT eq. 15)."""

import os
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import admit
from jeat_tf.core.energy import energy
from jeat_tf.core.files import begin_anew, read_arrays, write_arrays
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Images, Perturb


class EnergyRecord(NamedTuple):
    """Changes of energy, a row for each recorded step and a column for each image.

    Attributes:
      epoch: int64[R], from 1.
      step: int64[R], training steps taken before the recorded one.
      delta_x_joint_energy: float32[R, N], E(x_adv, y) - E(x, y), both by the weights before the step.
      delta_x_marginal_energy: float32[R, N], the same of E(x).
      delta_theta_joint_energy: float32[R, N], E(x_adv, y) after the step minus before it; x_adv stays as it is.
      delta_theta_marginal_energy: float32[R, N], the same of E(x).
    """

    epoch: np.ndarray
    step: np.ndarray
    delta_x_joint_energy: np.ndarray
    delta_x_marginal_energy: np.ndarray
    delta_theta_joint_energy: np.ndarray
    delta_theta_marginal_energy: np.ndarray


class EnergyChanges(keras.callbacks.Callback):
    """Records the four changes of energy of JEAT eq. 15, which its Fig. 3 and 9 to 11 show, on fixed images.

    Before a recorded step the images are perturbed with the weights at hand; after it the energies of the same x_adv
    are taken again. The images are not those that the step trains on, which a callback cannot see: delta_theta is what
    one step does to images like them. Energies are of the net in inference mode, of the weights and not of their
    average. With `steps_per_execution` above 1, a recorded step is that many steps.

    Serves `EnergyClassifier.fit`. The means over the epoch's records and the images are added to the epoch's logs under
    the names of `EnergyRecord`, in the epochs that have a record. Put it before callbacks that read the logs.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        perturb: Perturb,
        *,
        every: int = 20,
        seed: int = 0,
        path: str = "",
    ):
        """
        Args:
          images: float32[N, H, W, C] in [0, 1], perturbed as one batch.
          labels: int[N].
          perturb: makes x_adv, e.g. the run's own `objective.perturb`, or `attacked(cross_entropy, attack)`.
          every: training steps between records; each costs one perturbation and three forward passes.
          seed: of the perturbations.
          path: an .npz file that keeps the record, written at epoch ends, and with each state if it is given to
            `Checkpoints`. A resumed run reads it and adds to it. If it is damaged it is set aside, and the
            record starts afresh. Empty writes none.

        Raises:
          ValueError: invalid images or labels, or `every` below 1.
        """
        super().__init__()
        if every < 1:
            raise ValueError(f"expected every >= 1, received {every}")
        self.images, self.labels = map(tf.constant, admit(images, labels))
        self.perturb = perturb
        self.every = every
        self.seed = tf.constant([seed, 9])
        self.path = path
        self._parts = [_rows([], [], np.empty((4, 0, len(images))))]

    @property
    def record(self) -> EnergyRecord:
        """All that was recorded so far."""
        return EnergyRecord(*map(np.concatenate, zip(*self._parts, strict=True)))

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, where the model is known: a callback may be given to the `fit` of another one.
        self._perturbed = tf.function(self._perturb_and_measure, autograph=False)
        self._measured = tf.function(self._energies, autograph=False)
        if not self.path or not os.path.lexists(self.path):
            return
        try:
            found = _read(self.path)
        except (OSError, ValueError) as error:
            begin_anew(self.path, "the record of energy changes; it starts afresh", error)
            return
        if found.delta_x_joint_energy.shape[1] != len(self.images):
            raise ValueError(
                f"expected a record of {len(self.images)} images in {self.path}, received one of "
                f"{found.delta_x_joint_energy.shape[1]}; remove it, or give the images it was made with"
            )
        self._parts = [EnergyRecord(*(array[found.step < self.model.steps_taken] for array in found))]

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch, self._steps_before = epoch + 1, self.model.steps_taken

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._step = self._steps_before + batch
        if self._step % self.every == 0:
            self._x_adv, self._delta_x, self._before = self._perturbed(tf.constant(self._step, tf.int64))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._step % self.every == 0:
            delta_theta = self._measured(self._x_adv) - self._before
            changes = np.concatenate([self._delta_x, delta_theta])[:, None]
            self._parts.append(_rows([self._epoch], [self._step], changes))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        record = self.record
        of_epoch = record.epoch == epoch + 1
        if logs is not None and of_epoch.any():
            for name, array in zip(EnergyRecord._fields[2:], record[2:], strict=True):
                logs[name] = float(array[of_epoch].mean())
        self.save()

    def save(self) -> None:
        """Writes the record to `path`, if there is one."""
        if self.path:
            write_arrays(self.path, **self.record._asdict())

    def _perturb_and_measure(self, step: tf.Tensor) -> tuple[Images, tf.Tensor, tf.Tensor]:
        """x_adv, its energies minus those of the images, and its energies."""
        x_adv = self.perturb(self.model.net, self.images, self.labels, fold_in(self.seed, step))
        before = self._energies(x_adv)
        return x_adv, before - self._energies(self.images), before

    def _energies(self, x: Images) -> tf.Tensor:
        """float32[2, N]: E(x, y) and E(x)."""
        logits = self.model.net(x, training=False)
        return tf.stack([energy(logits, self.labels), energy(logits)])


def _read(path: str) -> EnergyRecord:
    arrays = read_arrays(path)
    if set(arrays) != set(EnergyRecord._fields):
        raise ValueError(f"expected arrays {', '.join(EnergyRecord._fields)}, received {', '.join(arrays) or 'none'}")
    found = EnergyRecord(**arrays)
    rows = found.step.shape
    if len(rows) != 1 or found.epoch.shape != rows or any(a.ndim != 2 or a.shape[:1] != rows for a in found[2:]):
        raise ValueError(f"its arrays have shapes {', '.join(str(list(array.shape)) for array in found)}")
    return found


def _rows(epoch: list[int], step: list[int], changes: np.ndarray) -> EnergyRecord:
    return EnergyRecord(np.array(epoch, np.int64), np.array(step, np.int64), *changes.astype(np.float32))
