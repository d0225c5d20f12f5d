"""An early alarm of catastrophic overfitting, from energies."""

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy
from jeat_tf.core.checks import admit
from jeat_tf.core.energy import energy
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Attack, Perturb
from jeat_tf.methods.inner import attacked

LIMIT = 0.83  # of 16x16 digits: healthy runs stay above 0.86 (benchmarks/overfitting.py)


class OverfittingAlarm(keras.callbacks.Callback):
    """Follows how much of a strong attack's change of energy the training attack makes.

    Single-step adversarial training can lose its robustness within an epoch: the net learns to resist the one step, and
    attacks of several steps break it. Their energies part, often before the accuracy falls. With the mean change
    D(x') = E(x', y) - E(x, y) over fixed images, the share is D(x_adv) / D(x_pgd). It is near 1 in healthy training,
    and falls towards 0 and below when the net overfits. An alarm is a share below `limit`. While D(x_pgd) is below half
    a nat, as in the first steps, the share says nothing and is 1. That the change of energy diverges is from Mirza et
    al., 2025, https://arxiv.org/abs/2505.22486; the share is ours.

    Logs `energy_share` at epoch ends, which a checkpoint can follow (higher is better); and `latest_overfitting`, 1
    minus the share, after the steps that it looked at, which a `Guard` acts on. Put it before both.

    Attributes:
      shares: (step, share) of each look.
      alarm_step: of the first alarm, or None.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        perturb: Perturb,
        attack: Attack,
        *,
        every: int = 10,
        limit: float = LIMIT,
        seed: int = 0,
    ):
        """
        Args:
          images: float32[N, H, W, C] in [0, 1], attacked as one batch; 128 are enough.
          labels: int[N].
          perturb: how training makes x_adv, the classifier's own `objective.perturb`.
          attack: of several steps, in the same ball: `attacks.PGD(ball, steps=10)`.
          every: steps between looks.
          limit: share below which there is an alarm.
          seed: of the attacks.

        Raises:
          ValueError: invalid images or labels, or `every` below 1.
        """
        super().__init__()
        if every < 1:
            raise ValueError(f"expected every >= 1, received {every}")
        self.images, self.labels = map(tf.constant, admit(images, labels))
        self.perturb, self.strong = perturb, attacked(cross_entropy, attack)
        self.every, self.limit = every, limit
        self.seed = tf.constant([seed, 10])
        self.shares: list[tuple[int, float]] = []
        self.alarm_step: int | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Here, where the model is known: a callback may be given to the `fit` of another one.
        self._share = tf.function(self._measured, autograph=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = self.model.steps_taken
        if step % self.every:
            return
        share = self._look(step)
        self.shares.append((step, share))
        if logs is not None:
            logs["latest_overfitting"] = 1.0 - share
        if share < self.limit and self.alarm_step is None:
            self.alarm_step = step
            print(
                f"\noverfitting: at step {step} the training attack makes {share:.0%} of the change of energy that a "
                "stronger one makes; robust accuracy may be about to fall",
                flush=True,
            )

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["energy_share"] = self._look(self.model.steps_taken)

    def _look(self, step: int) -> float:
        return float(self._share(tf.constant(step, tf.int64)))

    def _measured(self, step: tf.Tensor) -> tf.Tensor:
        seed, net = fold_in(self.seed, step), self.model.net

        def mean_energy(x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(energy(net(x, training=False), self.labels))

        clean = mean_energy(self.images)
        own = mean_energy(self.perturb(net, self.images, self.labels, seed)) - clean
        strong = mean_energy(self.strong(net, self.images, self.labels, seed)) - clean
        return tf.where(strong < _FAINT, 1.0, own / tf.maximum(strong, _FAINT))


_FAINT = 0.5  # nats
