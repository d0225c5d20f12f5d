from .bpda import bpda
from .evaluation import APGD, FAB, AutoAttack, CarliniWagner, EnergyPGD, Robustness, Square
from .oracle import Oracle
from .surrogates import cross_entropy, inference, joint_energy, marginal_energy, opposite, training
from .values import FGSM, MSD, PGD, FGSMBesideNoise

__all__ = [
    "APGD",
    "AutoAttack",
    "CarliniWagner",
    "EnergyPGD",
    "FAB",
    "FGSM",
    "FGSMBesideNoise",
    "MSD",
    "Oracle",
    "PGD",
    "Robustness",
    "Square",
    "bpda",
    "cross_entropy",
    "inference",
    "joint_energy",
    "marginal_energy",
    "opposite",
    "training",
]
