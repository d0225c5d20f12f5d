"""The inner problems: images to train on instead of x, and samples of the net's own density.

All run before the outer gradient tape. With the default view, inference, they leave batch statistics alone.
"""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.attacks import inference, marginal_energy
from jeat_tf.samplers import ReplayBuffer, random_labels
from jeat_tf.seeds import split
from jeat_tf.types import Attack, Images, Labels, Perturb, Sampler, Seed, Surrogate, View


def unchanged(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
    """x itself: no perturbation."""
    del net, labels, seed
    return x


def gaussian_noise(std: float) -> Perturb:
    """x + N(0, std^2), std in [0, 1] pixels, not clipped (JEAT sec. 3.2; its "N(0, 24/255)" read as a std)."""

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        del net, labels
        return x + std * tf.random.stateless_normal(tf.shape(x), seed, alg="philox")

    return perturb


def attacked(surrogate: Surrogate, attack: Attack, view: View = inference) -> Perturb:
    """The attack's x_adv, which raises surrogate(net, labels)."""

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        return attack(surrogate(view(net), labels), x, seed=seed)

    return perturb


class Proposal(NamedTuple):
    """One round of persistent chains before it is written back.

    Attributes:
      x_neg: float32[B, H, W, C].
      slots: int32[B], where the chains live in the buffer.
      restarted: bool[B], chains that began afresh.
    """

    x_neg: Images
    slots: tf.Tensor
    restarted: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Persistent:
    """Negatives by persistent contrastive divergence: a buffer, a chain on E(x), and a few restarts.

    Attributes:
      buffer: where chains live between steps, and where fresh ones start.
      sampler: (energy_fn, x, seed) -> x.
      restart_probability: chance that a chain begins afresh (rho of JEAT Algorithm 1; 0.05 in JEM).
      view: how the chain calls the net; `attacks.training` is JEM++'s way with batch normalisation.
    """

    buffer: ReplayBuffer
    sampler: Sampler
    restart_probability: float = 0.05
    view: View = inference

    def propose(self, net: Any, count: int | tf.Tensor, seed: Seed) -> Proposal:
        """Runs one round without changing the buffer."""
        slot_seed, label_seed, start_seed, restart_seed, chain_seed = split(seed, 5)
        stored, slots = self.buffer.draw(count, slot_seed)
        labels = random_labels(count, self.buffer.num_classes, label_seed)
        restarted = tf.random.stateless_uniform([count], restart_seed, alg="philox") < self.restart_probability
        x = tf.where(restarted[:, None, None, None], self.buffer.start(labels, start_seed), stored)
        x_neg = self.sampler(marginal_energy(self.view(net)), x, seed=chain_seed)
        return Proposal(x_neg, slots, restarted)

    def __call__(self, net: Any, count: int | tf.Tensor, seed: Seed) -> Images:
        """x_neg float32[count, H, W, C]; the buffer keeps them."""
        proposal = self.propose(net, count, seed)
        self.buffer.write(proposal.slots, proposal.x_neg, proposal.restarted)
        return proposal.x_neg
