"""Attacks.

In training: pure graph functions (loss_fn, x, *, seed, ...) -> x_adv and the losses they raise (`pgd`, `surrogates`).
In evaluation: searches (net, x, labels, *, seed, ...) -> Found, which drop an image once it is broken;
`autoattack` is a list of them.
"""

from jeat_tf.attacks import losses
from jeat_tf.attacks.apgd import apgd
from jeat_tf.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from jeat_tf.attacks.ensemble import AutoAttackResult, autoattack
from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.pgd import fgsm, fgsm_beside_noise, pgd
from jeat_tf.attacks.search import Found
from jeat_tf.attacks.square import square
from jeat_tf.attacks.steps import noise_search, pgd_search
from jeat_tf.attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy, opposite, training

__all__ = [
    "AutoAttackResult",
    "Found",
    "Oracle",
    "apgd",
    "autoattack",
    "carlini_wagner_l2",
    "carlini_wagner_linf",
    "cross_entropy",
    "fab",
    "fgsm",
    "fgsm_beside_noise",
    "inference",
    "joint_energy",
    "losses",
    "marginal_energy",
    "noise_search",
    "opposite",
    "pgd",
    "pgd_search",
    "square",
    "training",
]
