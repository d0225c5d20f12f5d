"""What is minimised: an inner problem solved without weight gradients, then a loss that uses its solution."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from jeat_tf.energy import cross_entropy, energy
from jeat_tf.methods.inner import Persistent, unchanged
from jeat_tf.seeds import split
from jeat_tf.types import Batch, Images, Labels, LossOut, Perturb, Seed

Positive = Callable[[Batch], Images]
"""Which images' energy is lowered: `perturbed` or `clean`."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A training method as a value.

    Attributes:
      loss: (net, batch) -> LossOut; calls the net in training mode.
      terms: names of the scalars that `loss` returns.
      perturb: (net, x, labels, seed) -> x_adv.
      negatives: (net, count, seed) -> x_neg, or None.
      input_noise_std: Gaussian noise added to every image before all else, in [0, 1] pixels (JEM's sigma).
    """

    loss: Callable[[Any, Batch], LossOut]
    terms: tuple[str, ...] = ()
    perturb: Perturb = unchanged
    negatives: Persistent | None = None
    input_noise_std: float = 0.0

    def prepare(self, net: Any, x: Images | tuple[Images, Images], labels: Labels, seed: Seed) -> Batch:
        """Solves the inner problem.

        Args:
          net: images -> logits.
          x: float32[B, H, W, C], or the pair (x, x_marginal) when p(x) has a stream of its own.
          labels: int[B].
          seed: int32[2].
        """
        noise_seed, marginal_seed, attack_seed, chain_seed = split(seed, 4)
        x, x_marginal = x if isinstance(x, (tuple, list)) else (x, None)
        x = self._noisy(x, noise_seed)
        return Batch(
            x=x,
            labels=labels,
            x_adv=self.perturb(net, x, labels, attack_seed),
            x_marginal=x if x_marginal is None else self._noisy(x_marginal, marginal_seed),
            x_neg=None if self.negatives is None else self.negatives(net, tf.shape(x)[0], chain_seed),
        )

    def _noisy(self, x: Images, seed: Seed) -> Images:
        if not self.input_noise_std:
            return x
        return x + self.input_noise_std * tf.random.stateless_normal(tf.shape(x), seed, alg="philox")


def perturbed(batch: Batch) -> Images:
    """x_adv as the positive phase: JEAT's Algorithm 1."""
    return batch.x_adv


def clean(batch: Batch) -> Images:
    """The images themselves (or those of the separate stream) as the positive phase: JEM, Robust JEM."""
    return batch.x_marginal


def adversarial(perturb: Perturb = unchanged) -> Objective:
    """Cross-entropy of the perturbed images: standard, noise-injected and adversarial training (JEAT eq. 1)."""

    def loss(net: Any, batch: Batch) -> LossOut:
        logits = net(batch.x_adv, training=True)
        value = tf.reduce_mean(cross_entropy(logits, batch.labels))
        return LossOut(value, logits, {"cross_entropy": value})

    return Objective(loss, terms=("cross_entropy",), perturb=perturb)


def joint(
    negatives: Persistent,
    *,
    perturb: Perturb = unchanged,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """-log p(y | x_adv) - w log p(x): CE(x_adv) + w (mean E(x_pos) - mean E(x_neg)).

    The likelihood term's gradient is that of JEAT Algorithm 1; its eq. 20 prints the sign of the second
    expectation wrong. With x_pos = x_adv and w = 1 the energies of x_adv cancel and the loss is
    mean E(x_adv, y) - mean E(x_neg).

    Args:
      negatives: samples of exp(-E(x)).
      perturb: what the classifier is trained on.
      positive: whose energy is lowered, `perturbed` or `clean`.
      energy_weight: w; 0 leaves the discriminative half.
      input_noise_std: see `Objective`.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        logits = net(batch.x_adv, training=True)
        x_pos = positive(batch)
        logits_pos = logits if x_pos is batch.x_adv else net(x_pos, training=True)
        classification = tf.reduce_mean(cross_entropy(logits, batch.labels))
        energy_pos = tf.reduce_mean(energy(logits_pos))
        energy_neg = tf.reduce_mean(energy(net(batch.x_neg, training=True)))
        gap = energy_pos - energy_neg
        return LossOut(
            classification + energy_weight * gap,
            logits,
            {
                "cross_entropy": classification,
                "energy_pos": energy_pos,
                "energy_neg": energy_neg,
                "gap": gap,
            },
        )

    return Objective(
        loss,
        terms=("cross_entropy", "energy_pos", "energy_neg", "gap"),
        perturb=perturb,
        negatives=negatives,
        input_noise_std=input_noise_std,
    )
