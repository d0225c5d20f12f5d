"""The inner problems: images to train on instead of x, and samples of the net's own density.

All run before the outer gradient tape. With the default view, inference, they leave batch statistics alone.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference, joint_energy, marginal_energy
from jeat_tf.core.energy import kl_divergence
from jeat_tf.core.loops import repeat
from jeat_tf.core.norms import gaussian_start
from jeat_tf.core.seeds import fold_in, split
from jeat_tf.core.types import Attack, Images, Labels, Perturb, Sampler, Seed, Surrogate, View
from jeat_tf.models.parts import split as split_net
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.start_layer import StartLayer
from jeat_tf.samplers.values import NormalizedDescent, SplitSGLD


def unchanged(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
    """x itself: no perturbation."""
    del net, labels, seed
    return x


def gaussian_noise(std: float) -> Perturb:
    """x + N(0, std^2), std in [0, 1] pixels, not clipped (JEAT sec. 3.2; its "N(0, 24/255)" read as a std)."""

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        del net, labels
        return gaussian_start(x, seed, std=std)

    return perturb


def dequantized(num_values: int = 256) -> Perturb:
    """Images on a grid of `num_values` pixel values, spread uniformly over the bins of that grid: what a density needs.

    x + (u - 1/2) / (n - 1) with u uniform in [0, 1), so that each pixel is the middle of its bin, and half a bin beyond
    [0, 1]. n is 256 for 8-bit images, 17 for scikit-learn's digits.
    """

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        del net, labels
        noise = tf.random.stateless_uniform(tf.shape(x), seed, -0.5, 0.5, alg="philox")
        return x + noise / (num_values - 1)

    return perturb


def attacked(surrogate: Surrogate, attack: Attack, view: View = inference) -> Perturb:
    """The attack's x_adv, which raises surrogate(net, labels)."""

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        return attack(surrogate(view(net), labels), x, seed=seed)

    return perturb


def kl_attacked(attack: Attack, view: View = inference) -> Perturb:
    """The attack's x_adv, which raises KL(p(y | x) || p(y | x_adv)) (TRADES); needs no labels.

    Its gradient is zero at x itself: the attack has to start beside it (`norms.gaussian_start`).
    """

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        del labels
        logits_fn = view(net)
        logits = tf.stop_gradient(logits_fn(x))
        return attack(lambda x_adv: kl_divergence(logits, logits_fn(x_adv)), x, seed=seed)

    return perturb


class Proposal(NamedTuple):
    """One round of chains before it is written back.

    Attributes:
      x_neg: float32[B, H, W, C].
      labels: int32[B], the classes that the chains were started, and perhaps run, for.
      slots: int32[B], where the chains live in the buffer; None without one.
      restarted: bool[B], chains that began afresh.
    """

    x_neg: Images
    labels: Labels
    slots: tf.Tensor | None
    restarted: tf.Tensor


class Negatives(Protocol):
    """Samples of the net's own density: `Persistent`, `Fresh`.

    Attributes:
      buffer: where chains live, None for those that always begin afresh.
      curriculum: a number of steps that grows with training, or None.
      start: where chains begin.
    """

    @property
    def buffer(self) -> ReplayBuffer | None: ...

    @property
    def curriculum(self) -> "Curriculum | None": ...

    @property
    def start(self) -> StartLayer: ...

    def propose(self, net: Any, count: int | tf.Tensor, seed: Seed, rounds: int | tf.Tensor = 1) -> Proposal:
        """Runs each chain `rounds` times; leaves the buffer as it is."""

    def __call__(self, net: Any, count: int | tf.Tensor, seed: Seed, rounds: int | tf.Tensor = 1) -> Proposal:
        """Runs each chain `rounds` times; the buffer keeps the result."""


@dataclasses.dataclass(frozen=True)
class Persistent:
    """Negatives by persistent contrastive divergence: a buffer, a chain down an energy, and a few restarts.

    Attributes:
      buffer: where chains live between steps, and where fresh ones start.
      sampler: (energy_fn, x, seed) -> x, e.g. `SGLD()`; `SplitSGLD()` runs through the net in two parts.
      restart_probability: chance that a chain begins afresh (rho of JEAT Algorithm 1; 0.05 in JEM).
      view: how the chain calls the net; `attacks.training` is JEM++'s way with batch normalisation.
      surrogate: what the chain lowers: `marginal_energy`, or `joint_energy` for chains of p(x | y), y being the
        class of the slot.
      relabel: chains take new classes in each step, as a batch of images has them (IGEBM's code), and do not keep that
        of their slot.
    """

    buffer: ReplayBuffer
    sampler: Sampler
    restart_probability: float = 0.05
    view: View = inference
    surrogate: Surrogate = marginal_energy
    relabel: bool = False

    curriculum = None

    @property
    def start(self) -> StartLayer:
        """Where fresh chains begin."""
        return self.buffer.start

    def propose(self, net: Any, count: int | tf.Tensor, seed: Seed, rounds: int | tf.Tensor = 1) -> Proposal:
        """Runs each chain `rounds` times without changing the buffer."""
        slot_seed, start_seed, restart_seed, chain_seed = split(seed, 4)
        stored, slots, labels = self.buffer.draw(count, slot_seed)
        if self.relabel:
            classes = self.buffer.num_classes
            labels = tf.random.stateless_uniform([count], fold_in(slot_seed, 1), 0, classes, tf.int32, alg="philox")
        restarted = tf.random.stateless_uniform([count], restart_seed, alg="philox") < self.restart_probability
        x = tf.where(restarted[:, None, None, None], self.buffer.start(labels, start_seed), stored)

        def run(x: Images, seed: Seed) -> Images:
            return self._chain(net, x, labels, seed)

        return Proposal(repeat(run, x, seed=chain_seed, num_steps=rounds), labels, slots, restarted)

    def __call__(self, net: Any, count: int | tf.Tensor, seed: Seed, rounds: int | tf.Tensor = 1) -> Proposal:
        """Runs each chain `rounds` times; the buffer keeps the result."""
        proposal = self.propose(net, count, seed, rounds)
        self.buffer.write(proposal.slots, proposal.x_neg, proposal.restarted)
        return proposal

    def _chain(self, net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        if isinstance(self.sampler, SplitSGLD):
            stem, head = split_net(net, self.sampler.layer or None)
            return self.sampler.through(self.view(stem), self.surrogate(self.view(head), labels), x, seed=seed)
        return self.sampler(self.surrogate(self.view(net), labels), x, seed=seed)


class Curriculum(keras.layers.Layer):
    """A number of steps that grows by one whenever negatives have become easy to tell from data (DAT).

    It grows when the mean AUC of the last `patience` steps reaches the threshold, and then looks at as many new steps
    before it grows again. Saved with the weights of the classifier that holds it.

    Attributes:
      steps: int32[], from 0, as in DAT's code, to max_steps.
      aucs: float32[patience], of the last steps, the latest one last.
      seen: int32[], steps since the last growth.
    """

    def __init__(self, max_steps: int, *, threshold: float = 0.8, patience: int = 8):
        """
        Args:
          max_steps: where growth ends.
          threshold: AUC of energies, data against negatives, from which on the number grows.
          patience: training steps whose AUC is averaged; its authors take 1,000 images in batches of 128.
        """
        super().__init__(name="curriculum", dtype="float32", trainable=False)
        self.max_steps, self.threshold, self.patience = max_steps, threshold, patience
        self.steps = self.add_weight(name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.aucs = self.add_weight(name="aucs", shape=(patience,), initializer="zeros", trainable=False)
        self.seen = self.add_weight(name="seen", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.built = True

    def update(self, auc: tf.Tensor) -> None:
        """Takes one training step's AUC into account."""
        seen = self.seen + 1
        aucs = tf.concat([self.aucs.value[1:], [auc]], 0)
        grows = (seen >= self.patience) & (tf.reduce_mean(aucs) >= self.threshold)
        self.steps.assign(tf.minimum(self.max_steps, self.steps + tf.cast(grows, tf.int32)))
        self.aucs.assign(aucs)
        self.seen.assign(tf.where(grows, 0, seen))


@dataclasses.dataclass(frozen=True)
class Fresh:
    """Negatives that begin afresh at each step and climb to low energy: DAT's, without a chain or a buffer.

    Attributes:
      start: (labels, seed) -> images; DAT's own are withdrawn web images, here noise or class Gaussians.
      chain: lowers the energy in as many steps as it is told.
      num_classes: K.
      curriculum: how many steps.
      view: how the chain calls the net.
      surrogate: the energy that it lowers.
    """

    start: StartLayer
    chain: NormalizedDescent
    num_classes: int
    curriculum: Curriculum
    view: View = inference
    surrogate: Surrogate = joint_energy

    buffer = None

    def propose(self, net: Any, count: int | tf.Tensor, seed: Seed, rounds: int | tf.Tensor = 1) -> Proposal:
        """x_neg after rounds times the curriculum's steps."""
        label_seed, start_seed, attack_seed = split(seed, 3)
        labels = tf.random.stateless_uniform([count], label_seed, 0, self.num_classes, tf.int32, alg="philox")
        energy_fn = self.surrogate(self.view(net), labels)
        x_neg = self.chain(
            energy_fn, self.start(labels, start_seed), seed=attack_seed, steps=self.curriculum.steps.value * rounds
        )
        return Proposal(x_neg, labels, None, tf.ones([count], tf.bool))

    __call__ = propose
