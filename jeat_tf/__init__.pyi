from . import (
    attacks,
    callbacks,
    data,
    figures,
    methods,
    metrics,
    models,
    samplers,
)
from .core.balls import L1, L2, Linf
from .core.energy import JointEnergy, MarginalEnergy, energy, energy_model
from .core.version import __version__
from .figures.show import show
from .methods.classifier import EnergyClassifier
from .models.foreign import as_logits
from .runs.zoo import load_pretrained

__all__ = [
    "EnergyClassifier",
    "JointEnergy",
    "L1",
    "L2",
    "Linf",
    "MarginalEnergy",
    "__version__",
    "as_logits",
    "attacks",
    "callbacks",
    "data",
    "energy",
    "energy_model",
    "figures",
    "load_pretrained",
    "methods",
    "metrics",
    "models",
    "samplers",
    "show",
]
