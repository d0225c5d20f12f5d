from .ensemble import autoattack
from .surrogates import cross_entropy, joint_energy, marginal_energy
from .values import FGSM, PGD, FGSMBesideNoise

__all__ = [
    "FGSM",
    "FGSMBesideNoise",
    "PGD",
    "autoattack",
    "cross_entropy",
    "joint_energy",
    "marginal_energy",
]
