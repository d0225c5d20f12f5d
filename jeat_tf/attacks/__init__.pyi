from .carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from .ensemble import AutoAttackResult, autoattack
from .oracle import Oracle
from .pgd import fgsm, fgsm_beside_noise
from .search import Found
from .steps import noise_search, pgd_search
from .surrogates import cross_entropy, inference, joint_energy, marginal_energy, opposite, training

__all__ = [
    "AutoAttackResult",
    "Found",
    "Oracle",
    "autoattack",
    "carlini_wagner_l2",
    "carlini_wagner_linf",
    "cross_entropy",
    "fgsm",
    "fgsm_beside_noise",
    "inference",
    "joint_energy",
    "marginal_energy",
    "noise_search",
    "opposite",
    "pgd_search",
    "training",
]
