"""What is minimised: an inner problem solved without weight gradients, then a loss that uses its solution."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.energy import cross_entropy, energy, kl_divergence
from jeat_tf.core.norms import gaussian_start
from jeat_tf.core.seeds import split
from jeat_tf.core.types import Batch, Images, Labels, LossOut, Perturb, Seed
from jeat_tf.methods.inner import Negatives, unchanged

Positive = Callable[[Batch], Images]
"""Which images' energy is lowered, or which are classified: `perturbed` or `clean`."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """A training method as a value.

    Attributes:
      loss: (net, batch) -> LossOut; calls the net in training mode.
      terms: names of the scalars that `loss` returns.
      perturb: (net, x, labels, seed) -> x_adv.
      negatives: (net, count, seed, rounds) -> Proposal, or None.
      input_noise_std: Gaussian noise added to every image before all else, in [0, 1] pixels (JEM's sigma).
      unlabelled: labels may be -1, unknown: such images count in no cross-entropy, serve p(x), and are attacked
        from the class that the net gives them.
      energy_l2: weight of the term `energy_squared`, where the loss has one (IGEBM; JEM's authors against divergence).
      chain_rounds: how often each draw of negatives runs its chain.
      classifies_adversarial: `loss` returns the logits of adversarial images. Training logs then call their accuracy
        `adv_accuracy`, because it cannot be compared with that of clean validation images.
    """

    loss: Callable[[Any, Batch], LossOut]
    terms: tuple[str, ...] = ()
    perturb: Perturb = unchanged
    negatives: Negatives | None = None
    input_noise_std: float = 0.0
    unlabelled: bool = False
    energy_l2: Any = 0.0
    chain_rounds: Any = 1
    classifies_adversarial: bool = False

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
        attacked_labels = labels
        if self.unlabelled:
            guess = tf.argmax(inference(net)(x), axis=-1, output_type=labels.dtype)
            attacked_labels = tf.where(labels < 0, guess, labels)
        proposal = None
        if self.negatives is not None:
            proposal = self.negatives(net, tf.shape(x)[0], chain_seed, self.chain_rounds)
        return Batch(
            x=x,
            labels=labels,
            x_adv=self.perturb(net, x, attacked_labels, attack_seed),
            x_marginal=x if x_marginal is None else self._noisy(x_marginal, marginal_seed),
            x_neg=None if proposal is None else proposal.x_neg,
            labels_neg=None if proposal is None else proposal.labels,
        )

    def total(self, net: Any, batch: Batch) -> LossOut:
        """The loss with everything that is added to any objective: the net's own penalties, L2 on energies."""
        out = self.loss(net, batch)
        loss = out.loss + tf.add_n(net.losses) if net.losses else out.loss
        if "energy_squared" in out.terms:
            loss += self.energy_l2 * out.terms["energy_squared"]
        return out._replace(loss=loss)

    def _noisy(self, x: Images, seed: Seed) -> Images:
        if not self.input_noise_std:
            return x
        return gaussian_start(x, seed, std=self.input_noise_std)


def perturbed(batch: Batch) -> Images:
    """x_adv as the positive phase: JEAT's Algorithm 1."""
    return batch.x_adv


def clean(batch: Batch) -> Images:
    """The images themselves (or those of the separate stream) as the positive phase: JEM, Robust JEM."""
    return batch.x_marginal


def positive(name: str) -> Positive:
    """The images that "adversarial" or "clean" means."""
    return {"adversarial": perturbed, "clean": clean}[name]


def mean_over_labelled(values: tf.Tensor, labels: Labels) -> tf.Tensor:
    """Mean float32[] of the values float32[B] whose label is known; 0 where none is."""
    known = tf.cast(labels >= 0, tf.float32)
    return tf.reduce_sum(values * known) / tf.maximum(tf.reduce_sum(known), 1.0)


def classification_loss(
    logits: tf.Tensor, labels: Labels, weights: tf.Tensor | float = 1.0, smoothing: float = 0.0
) -> tf.Tensor:
    """Mean cross-entropy float32[] of the images whose label is known, each times its weight.

    `smoothing` s spreads labels over all classes: (1 - s) CE(y) + s mean_k CE(k).

    Args:
      logits: float[B, K].
      labels: int[B]; -1 is unknown.
      weights: float32[B], or one for all.
      smoothing: s, in [0, 1).
    """
    each = cross_entropy(logits, tf.maximum(labels, 0))
    if smoothing:
        over_classes = tf.reduce_mean(tf.nn.log_softmax(tf.cast(logits, tf.float32)), axis=-1)
        each = (1.0 - smoothing) * each - smoothing * over_classes
    return mean_over_labelled(weights * each, labels)


def adversarial(perturb: Perturb = unchanged, *, attacks: bool = True, smoothing: float = 0.0) -> Objective:
    """Cross-entropy of the perturbed images: standard, noise-injected and adversarial training (JEAT eq. 1).

    Args:
      perturb: what the images are trained as.
      attacks: False where `perturb` is no attack, such as noise.
      smoothing: of the labels, see `classification_loss`.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        logits = net(batch.x_adv, training=True)
        value = classification_loss(logits, batch.labels, smoothing=smoothing)
        return LossOut(value, logits, {"cross_entropy": value})

    adversarial = attacks and perturb is not unchanged
    return Objective(loss, terms=("cross_entropy",), perturb=perturb, classifies_adversarial=adversarial)


def consistent(
    perturb: Perturb,
    *,
    beta: float,
    classified: Positive = clean,
    weigh: Callable[[tf.Tensor], tf.Tensor] | None = None,
    smoothing: float = 0.0,
) -> Objective:
    """w CE(x) + beta w KL(p(y | x) || p(y | x_adv)): TRADES, and WEAT where images are weighed.

    Two forward passes in training mode, of x and of x_adv.

    Args:
      perturb: usually `kl_attacked(attack)`.
      beta: weight of the second term (1 / lambda in TRADES); 0 leaves the cross-entropy.
      classified: whose cross-entropy: `clean` (TRADES) or `perturbed`.
      weigh: energies E(x) float32[B] -> weights w float32[B], taken as constants; None is 1.
      smoothing: of the labels, see `classification_loss`.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        logits, logits_adv = net(batch.x, training=True), net(batch.x_adv, training=True)
        weights = 1.0 if weigh is None else tf.stop_gradient(weigh(energy(logits)))
        shown = logits if classified is clean else logits_adv
        classification = classification_loss(shown, batch.labels, weights, smoothing)
        divergence = tf.reduce_mean(weights * kl_divergence(logits, logits_adv))
        terms = {"cross_entropy": classification, "divergence": divergence}
        return LossOut(classification + beta * divergence, shown, terms)

    return Objective(
        loss,
        terms=("cross_entropy", "divergence"),
        perturb=perturb,
        classifies_adversarial=classified is not clean,
    )


def level(perturb: Perturb, *, beta: float) -> Objective:
    """CE(x_adv) + beta mean (E(x) - E(x_adv))^2: energies that an attack does not change (DER).

    Two forward passes in training mode, of x and of x_adv.

    Args:
      perturb: usually `attacked(cross_entropy, attack)`.
      beta: weight of the second term; 0 leaves adversarial training.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        each = energy(net(batch.x, training=True))
        logits = net(batch.x_adv, training=True)
        change = each - energy(logits)
        classification = classification_loss(logits, batch.labels)
        squared = tf.reduce_mean(tf.square(change))
        terms = {
            "cross_entropy": classification,
            "delta_energy": tf.reduce_mean(change),
            "delta_energy_squared": squared,
        }
        return LossOut(classification + beta * squared, logits, terms)

    terms = ("cross_entropy", "delta_energy", "delta_energy_squared")
    return Objective(loss, terms=terms, perturb=perturb, classifies_adversarial=True)


def joint(
    negatives: Negatives,
    *,
    perturb: Perturb = unchanged,
    positive: Positive = clean,
    energy_weight: float = 1.0,
    joint_weight: float = 0.0,
    class_weight: float = 1.0,
    energy_l2: float = 0.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """-c log p(y | x_adv) - w log p(x) - v log p(x, y), by contrast of images and negatives.

    c CE(x_adv) + w (mean E(x_pos) - mean E(x_neg)) + v (mean E(x_pos, y) - mean E(x_neg, y_neg)). The gradient is that
    of JEAT Algorithm 1; its eq. 20 prints the sign of the second expectation wrong. With x_pos = x_adv, c = w = 1
    and v = 0 the energies of x_adv cancel and the loss is mean E(x_adv, y) - mean E(x_neg).

    Args:
      negatives: samples of exp(-E(x)), or of exp(-E(x, y)) for joint_weight.
      perturb: what the classifier is trained on.
      positive: whose energy is lowered, `perturbed` or `clean`.
      energy_weight: w; 0 leaves the discriminative half.
      joint_weight: v (JEM's code: p_x_y_weight).
      class_weight: c; 0 leaves an energy-based model whose logits are class-conditional energies (IGEBM).
      energy_l2: weight of mean E(x_pos)^2 + mean E(x_neg)^2; of E(x_pos, y) and E(x_neg, y_neg) where these alone are
        trained (v above 0, w = 0), as IGEBM's authors have it.
      input_noise_std: see `Objective`.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        # Clean images pass last, as in the code of JEM++ and SADA-JEM: batch statistics are then mostly theirs.
        x_pos = positive(batch)
        logits_neg = net(batch.x_neg, training=True)
        if x_pos is batch.x_adv:
            logits = logits_pos = net(x_pos, training=True)
        elif perturb is unchanged:
            logits_pos, logits = net(x_pos, training=True), net(batch.x_adv, training=True)
        else:
            logits, logits_pos = net(batch.x_adv, training=True), net(x_pos, training=True)
        classification = classification_loss(logits, batch.labels)
        terms = _contrast(energy(logits_pos), energy(logits_neg), x_pos, batch.x_neg)
        value = class_weight * classification + energy_weight * terms["gap"]
        if joint_weight:
            each_pos = energy(logits_pos, tf.maximum(batch.labels, 0))
            each_neg = energy(logits_neg, batch.labels_neg)
            value += joint_weight * (mean_over_labelled(each_pos, batch.labels) - tf.reduce_mean(each_neg))
            if not energy_weight:
                terms["gap"] = mean_over_labelled(each_pos, batch.labels) - tf.reduce_mean(each_neg)
                terms["energy_squared"] = mean_over_labelled(each_pos**2, batch.labels) + tf.reduce_mean(each_neg**2)
        return LossOut(value, logits, {"cross_entropy": classification} | terms)

    return Objective(
        loss,
        terms=("cross_entropy", *_CONTRAST),
        perturb=perturb,
        negatives=negatives,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
        classifies_adversarial=perturb is not unchanged,
    )


def discriminated(
    negatives: Negatives,
    *,
    perturb: Perturb = unchanged,
    energy_weight: float = 1.0,
    energy_l2: float = 0.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """CE(x_adv) + w BCE: -E(x) is the logit of a binary classifier of data against negatives (DAT).

    BCE is the mean over both halves of softplus(E(x)) for data and softplus(-E(x_neg)) for negatives: bounded below,
    unlike a difference of energies.

    Args:
      negatives: `Fresh`; their curriculum, if any, is fed by the term `auc`.
      perturb: what the classifier is trained on.
      energy_weight: w; 0 leaves the discriminative half.
      energy_l2: weight of mean E(x)^2 + mean E(x_neg)^2.
      input_noise_std: see `Objective`.
    """

    def loss(net: Any, batch: Batch) -> LossOut:
        each_neg = energy(net(batch.x_neg, training=True))
        logits = net(batch.x_adv, training=True)
        classification = classification_loss(logits, batch.labels)
        each_pos = energy(net(batch.x_marginal, training=True))  # last, so that batch statistics are of clean images
        binary = (tf.reduce_mean(tf.nn.softplus(each_pos)) + tf.reduce_mean(tf.nn.softplus(-each_neg))) / 2
        ordered = tf.cast(each_pos[:, None] < each_neg[None], tf.float32)
        ties = tf.cast(each_pos[:, None] == each_neg[None], tf.float32)
        terms = {"cross_entropy": classification, "binary": binary, "auc": tf.reduce_mean(ordered + ties / 2)}
        terms |= _contrast(each_pos, each_neg, batch.x_marginal, batch.x_neg)
        return LossOut(classification + energy_weight * binary, logits, terms)

    return Objective(
        loss,
        terms=("cross_entropy", "binary", "auc", *_CONTRAST),
        perturb=perturb,
        negatives=negatives,
        energy_l2=energy_l2,
        input_noise_std=input_noise_std,
        classifies_adversarial=perturb is not unchanged,
    )


_CONTRAST = ("energy_pos", "energy_neg", "gap", "energy_squared", "saturation")
_NEAR_AN_END = 1 / 32


def _contrast(each_pos: tf.Tensor, each_neg: tf.Tensor, x_pos: Images, x_neg: Images) -> dict[str, tf.Tensor]:
    """The terms of `_CONTRAST`, from energies float32[B] of data and of negatives, and the images themselves."""
    energy_pos, energy_neg = tf.reduce_mean(each_pos), tf.reduce_mean(each_neg)
    return {
        "energy_pos": energy_pos,
        "energy_neg": energy_neg,
        "gap": energy_pos - energy_neg,
        "energy_squared": tf.reduce_mean(each_pos**2) + tf.reduce_mean(each_neg**2),
        "saturation": saturation(x_neg, x_pos),
    }


def saturation(x: Images, data: Images) -> tf.Tensor:
    """Share float32[] of x's pixels near 0 or 1, or beyond, in excess of the data's: 0 as in data, 1 all of them."""

    def at_ends(images: Images) -> tf.Tensor:
        return tf.reduce_mean(tf.cast((images < _NEAR_AN_END) | (images > 1 - _NEAR_AN_END), tf.float32))

    of_data = at_ends(data)
    return (at_ends(x) - of_data) / tf.maximum(1.0 - of_data, _NEAR_AN_END)
