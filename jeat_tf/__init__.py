"""Joint energy adversarial training and its relatives in TensorFlow and Keras 3.

A classifier's logits are energies: E(x, y) = -f(x)[y], E(x) = -logsumexp f(x). One network classifies, resists
attack and generates images.
"""

__version__ = "0.1.0"

from jeat_tf.attacks import cross_entropy, fgsm, joint_energy, marginal_energy, pgd
from jeat_tf.energy import JointEnergy, MarginalEnergy, energy, energy_model
from jeat_tf.methods import (
    EnergyClassifier,
    Objective,
    Persistent,
    adversarial,
    attacked,
    clean,
    descend,
    gaussian_noise,
    jeat,
    jem,
    joint,
    noise,
    perturbed,
    pgd_at,
    pre_jeat,
    robust_jem,
    standard,
)
from jeat_tf.models import small_cnn, wide_resnet
from jeat_tf.norms import Ball, l2, linf
from jeat_tf.samplers import ReplayBuffer, Stage, class_gaussians, coupled, generate, sgld, uniform

__all__ = [
    "Ball",
    "EnergyClassifier",
    "JointEnergy",
    "MarginalEnergy",
    "Objective",
    "Persistent",
    "ReplayBuffer",
    "Stage",
    "adversarial",
    "attacked",
    "class_gaussians",
    "clean",
    "coupled",
    "cross_entropy",
    "descend",
    "energy",
    "energy_model",
    "fgsm",
    "gaussian_noise",
    "generate",
    "jeat",
    "jem",
    "joint",
    "joint_energy",
    "l2",
    "linf",
    "marginal_energy",
    "noise",
    "perturbed",
    "pgd",
    "pgd_at",
    "pre_jeat",
    "robust_jem",
    "sgld",
    "small_cnn",
    "standard",
    "uniform",
    "wide_resnet",
]
