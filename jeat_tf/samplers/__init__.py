"""Samplers: chains, where they start, what they remember, and how stages are put together."""

from jeat_tf.samplers.editing import Counterfactual, counterfactual, denoise, inpaint, super_resolve, translate
from jeat_tf.samplers.generate import Stage, contrast, generate
from jeat_tf.samplers.metropolis import acceptance, hmc, mala
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.sgld import Steps, coupled, sgld, split_sgld
from jeat_tf.samplers.starts import class_gaussians, gaussian, given, mixture, uniform
from jeat_tf.samplers.statistics import ClassStatistics, class_components, class_statistics
from jeat_tf.samplers.walks import Chain, Walk, annealed, langevin, momentum, projected

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
    "class_statistics",
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
    "sgld",
    "split_sgld",
    "super_resolve",
    "translate",
    "uniform",
]
