from .class_statistics import ClassStatistics, class_components
from .editing import Counterfactual, counterfactual, denoise, inpaint, super_resolve, translate
from .generation import Stage, contrast, generate
from .metropolis import acceptance, hmc, mala
from .replay_buffer import ReplayBuffer
from .sgld import Steps, coupled, split_sgld
from .starts import class_gaussians, gaussian, given, mixture, uniform
from .walks import Chain, Walk, annealed, langevin, momentum, projected

__all__ = [
    "Chain",
    "ClassStatistics",
    "Counterfactual",
    "ReplayBuffer",
    "Stage",
    "Steps",
    "Walk",
    "acceptance",
    "annealed",
    "class_components",
    "class_gaussians",
    "contrast",
    "counterfactual",
    "coupled",
    "denoise",
    "gaussian",
    "generate",
    "given",
    "hmc",
    "inpaint",
    "langevin",
    "mala",
    "mixture",
    "momentum",
    "projected",
    "split_sgld",
    "super_resolve",
    "translate",
    "uniform",
]
