"""An early alarm of catastrophic overfitting, from energies."""

import os

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.core.balls import Ball
from jeat_tf.core.checks import admit
from jeat_tf.core.energy import energy
from jeat_tf.core.files import begin_anew, read_arrays, write_arrays
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Perturb

DROP = 0.04  # healthy runs fall by at most 0.025 (benchmarks/overfitting.py)


class OverfittingAlarm(keras.callbacks.Callback):
    """Follows whether the energy is straight within the ball around an image.

    Single-step adversarial training can lose its robustness within an epoch: the net bends its energy, so that the one
    step raises it no more, and attacks of several steps break it. The `alignment` is the mean cosine between the
    gradients of E(x, y) at x and at a random point of the ball around it (GradAlign, Andriushchenko & Flammarion, 2020,
    eq. 4). It drifts slowly in healthy training, and collapses some steps before robust accuracy does. How high it is
    depends on the net and on the ball, so that an alarm is a fall: the alignment is lower by more than `drop` than at a
    look of the 30 steps before. A look says nothing while the attack of training raises the energy by less than a
    quarter of a nat, as in the first steps. It was measured on single-step training of classifiers. Methods with
    negatives bend their energies in the first steps too, and set it off.

    Logs `energy_alignment` at epoch ends, which a checkpoint can follow (higher is better); and `latest_overfitting`,
    the fall, after the steps that it looked at, which a `Guard` acts on. Put it before both.

    Attributes:
      looks: (step, alignment, fall) of each look that said something.
      alarm_step: of the first alarm, or None.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        perturb: Perturb,
        ball: Ball,
        *,
        every: int = 5,
        drop: float = DROP,
        seed: int = 0,
        path: str = "",
    ):
        """
        Args:
          images: float32[N, H, W, C] in [0, 1], attacked as one batch; 128 are enough.
          labels: int[N].
          perturb: how training makes x_adv, the classifier's own `objective.perturb`.
          ball: in which it makes them.
          every: steps between looks.
          drop: fall of the alignment beyond which there is an alarm.
          seed: of the attacks.
          path: an .npz file that keeps the looks, written with each state if it is given to `Checkpoints`. A resumed
            run reads it and alarms as one that was not stopped. If it is damaged it is set aside. Empty writes none.

        Raises:
          ValueError: invalid images or labels, or `every` below 1.
        """
        super().__init__()
        if every < 1:
            raise ValueError(f"expected every >= 1, received {every}")
        self.images, self.labels = map(tf.constant, admit(images, labels))
        self.perturb, self.ball, self.every, self.drop = perturb, ball, every, drop
        self.seed, self.path = tf.constant([seed, 10]), path
        self.looks: list[tuple[int, float, float]] = []
        self.alarm_step: int | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, where the model is known: a callback may be given to the `fit` of another one.
        self._measure = tf.function(self._measured, autograph=False)
        if not self.path or not os.path.lexists(self.path):
            return
        try:
            arrays = read_arrays(self.path)
            looks = zip(*(arrays[name].tolist() for name in ("step", "alignment", "fall")), strict=True)
            self.looks = [(int(step), float(at), float(fall)) for step, at, fall in looks]
        except (OSError, ValueError, LookupError, TypeError) as error:
            begin_anew(self.path, "the looks of the overfitting alarm; it starts afresh", error)
        self._forget_after(self.model.steps_taken)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = self.model.steps_taken
        if step % self.every:
            return
        alignment, rise = self._look(step)
        fall = 0.0
        self._forget_after(step - 1)  # a guard may have gone back
        if rise >= _FAINT:
            recent = [other for at, other, _ in self.looks[-_STEPS:] if at >= step - _STEPS]
            fall = max(recent, default=alignment) - alignment
            self.looks.append((step, alignment, fall))
        if logs is not None:
            logs["latest_overfitting"] = fall
        if fall > self.drop and self.alarm_step is None:
            self.alarm_step = step
            print(
                f"\noverfitting: at step {step} the gradients of the energy around an image agree less than before, by "
                f"{fall:.2f} of their cosine; robust accuracy may be about to fall",
                flush=True,
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["energy_alignment"] = self._look(self.model.steps_taken)[0]

    def save(self) -> None:
        """Writes the looks to `path`, if there is one."""
        if self.path:
            step, alignment, fall = np.array(self.looks, np.float64).reshape(-1, 3).T
            write_arrays(self.path, step=step.astype(np.int64), alignment=alignment, fall=fall)

    def _forget_after(self, step: int) -> None:
        self.looks = [look for look in self.looks if look[0] <= step]
        self.alarm_step = next((at for at, _, fall in self.looks if fall > self.drop), None)

    def _look(self, step: int) -> tuple[float, float]:
        alignment, rise = self._measure(tf.constant(step, tf.int64))
        return float(alignment), float(rise)

    def _measured(self, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The alignment, and by how much the attack raises the mean energy."""
        net = self.model.net

        def slope(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(x)
                energies = energy(net(x, training=False), self.labels)
            gradient = tape.gradient(energies, x)
            return tf.math.l2_normalize(tf.reshape(gradient, [len(self.labels), -1]), axis=-1), energies

        seed = fold_in(self.seed, step)
        beside = tf.clip_by_value(self.ball.random_start(self.images, fold_in(seed, 0)), 0.0, 1.0)
        here, energies = slope(self.images)
        cosines = tf.reduce_sum(here * slope(beside)[0], axis=-1)
        x_adv = self.perturb(net, self.images, self.labels, fold_in(seed, 1))
        rise = energy(net(x_adv, training=False), self.labels) - energies
        return tf.reduce_mean(cosines), tf.reduce_mean(rise)


_FAINT, _STEPS = 0.25, 30  # nats; steps
