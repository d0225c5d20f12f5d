"""Attacks: pure functions (loss_fn, x, *, seed, ...) -> x_adv, and the losses they raise."""

from jeat_tf.attacks.pgd import fgsm, fgsm_beside_noise, pgd
from jeat_tf.attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy, training

__all__ = [
    "cross_entropy",
    "fgsm",
    "fgsm_beside_noise",
    "inference",
    "joint_energy",
    "marginal_energy",
    "pgd",
    "training",
]
