"""Methods: objectives, their inner problems, updates, and the Keras model that runs them."""

from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.inner import Persistent, attacked, gaussian_noise, unchanged
from jeat_tf.methods.objective import Objective, adversarial, clean, joint, perturbed
from jeat_tf.methods.recipes import jeat, jem, noise, pgd_at, pre_jeat, robust_jem, standard
from jeat_tf.methods.updates import descend

__all__ = [
    "EnergyClassifier",
    "Objective",
    "Persistent",
    "adversarial",
    "attacked",
    "clean",
    "descend",
    "gaussian_noise",
    "jeat",
    "jem",
    "joint",
    "noise",
    "perturbed",
    "pgd_at",
    "pre_jeat",
    "robust_jem",
    "standard",
    "unchanged",
]
