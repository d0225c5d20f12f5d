"""The functions that are passed around, each named and described once."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

Seed: TypeAlias = tf.Tensor
"""int32[2]: the seed of `tf.random.stateless_*`; split and fold it, never reuse it."""

Images: TypeAlias = tf.Tensor
"""float32[B, H, W, C] in [0, 1]."""

Labels: TypeAlias = tf.Tensor
"""int[B], class indices; -1 is an image whose class is not known, in training alone."""

ImagesAndLabels = tuple[np.ndarray, np.ndarray]
"""Arrays of images and their labels."""

LogitsFn = Callable[[Images], tf.Tensor]
"""images -> logits float[B, K]."""

LossFn = Callable[[Images], tf.Tensor]
"""images -> loss float[B]; an attack raises it."""

EnergyFn = Callable[[Images], tf.Tensor]
"""images -> energy float[B]; a sampler lowers it."""

Surrogate = Callable[[LogitsFn, Labels], LossFn]
"""(logits_fn, labels) -> what to raise or lower, e.g. `attacks.cross_entropy` or `attacks.joint_energy`."""

View = Callable[[Any], LogitsFn]
"""net -> logits_fn: how an inner problem calls the net (inference or training mode)."""


class Attack(Protocol):
    """Raises a loss near x, e.g. `PGD(Linf(8 / 255), steps=10)`."""

    def __call__(self, loss_fn: LossFn, x: Images, *, seed: Seed) -> Images: ...


class Sampler(Protocol):
    """Runs a chain down an energy, e.g. `SGLD(steps=20, step_size=0.25, noise_std=0.005)`."""

    def __call__(self, energy_fn: EnergyFn, x: Images, *, seed: Seed) -> Images: ...


class Draw(Protocol):
    """First images of a chain, one for each label; a class-free start uses only the number of labels."""

    def __call__(self, labels: Labels, seed: Seed) -> Images: ...


class Perturb(Protocol):
    """Images to train on instead of x."""

    def __call__(self, net: Any, x: Images, labels: Labels, seed: Seed) -> Images: ...


class Batch(NamedTuple):
    """What one inner problem hands to the loss.

    Attributes:
      x: the images given, plus input noise.
      labels: int[B].
      x_adv: the perturbed images; the same tensor as x where the method perturbs nothing.
      x_marginal: images for p(x); the same tensor as x unless a separate stream supplies them.
      x_neg: samples of the net's own density, or None.
      labels_neg: int[B], the classes that x_neg were drawn for, or None.
    """

    x: Images
    labels: Labels
    x_adv: Images
    x_marginal: Images
    x_neg: Images | None
    labels_neg: Labels | None


class LossOut(NamedTuple):
    """One evaluation of an objective: scalar loss, logits of the classified images, scalar terms by name."""

    loss: tf.Tensor
    logits: tf.Tensor
    terms: dict[str, tf.Tensor]
