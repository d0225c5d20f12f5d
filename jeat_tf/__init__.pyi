from . import (
    attacks,
    config,
    convert,
    core,
    data,
    draw,
    evaluate,
    figures,
    methods,
    metrics,
    models,
    prepare,
    report,
    runs,
    sample,
    samplers,
    train,
)
from .attacks import losses
from .attacks.apgd import apgd
from .attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from .attacks.ensemble import AutoAttackResult, autoattack
from .attacks.fab import fab
from .attacks.oracle import Oracle
from .attacks.pgd import fgsm, pgd
from .attacks.search import Found
from .attacks.square import square
from .attacks.steps import noise_search, pgd_search
from .attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy
from .core.energy import JointEnergy, MarginalEnergy, energy, energy_model
from .core.norms import Ball, gaussian_start, l2, linf
from .methods.classifier import EnergyClassifier
from .methods.guard import DivergenceError, Guard
from .methods.inner import (
    Curriculum,
    Fresh,
    Persistent,
    SplitPersistent,
    attacked,
    dequantized,
    gaussian_noise,
    kl_attacked,
)
from .methods.objective import Objective, adversarial, clean, consistent, discriminated, joint, likelihood, perturbed
from .methods.recipes import dat, flow, igebm, jeat, jem, noise, pgd_at, pre_jeat, robust_jem, standard, trades, weat
from .methods.updates import Free, awp, descend, sam
from .models.cnn import small_cnn
from .models.flow import flow_samples, glow
from .models.parts import split
from .models.pre_act import pre_act_resnet18
from .models.residual import wide_resnet
from .samplers.class_statistics import ClassStatistics, class_components, class_statistics
from .samplers.editing import Counterfactual, counterfactual, denoise, inpaint, super_resolve, translate
from .samplers.generation import Stage, contrast, generate
from .samplers.metropolis import acceptance, hmc, mala
from .samplers.refinement import refine
from .samplers.replay_buffer import ReplayBuffer
from .samplers.sgld import coupled, sgld, split_sgld
from .samplers.starts import class_gaussians, gaussian, given, mixture, uniform
from .samplers.walks import Chain, Walk, annealed, langevin, momentum, projected

__all__ = [
    "AutoAttackResult",
    "Ball",
    "Chain",
    "ClassStatistics",
    "Counterfactual",
    "Curriculum",
    "DivergenceError",
    "EnergyClassifier",
    "Found",
    "Free",
    "Fresh",
    "Guard",
    "JointEnergy",
    "MarginalEnergy",
    "Objective",
    "Oracle",
    "Persistent",
    "ReplayBuffer",
    "SplitPersistent",
    "Stage",
    "Walk",
    "acceptance",
    "adversarial",
    "annealed",
    "apgd",
    "attacked",
    "attacks",
    "autoattack",
    "awp",
    "carlini_wagner_l2",
    "carlini_wagner_linf",
    "class_components",
    "class_gaussians",
    "class_statistics",
    "clean",
    "config",
    "consistent",
    "contrast",
    "convert",
    "core",
    "counterfactual",
    "coupled",
    "cross_entropy",
    "dat",
    "data",
    "denoise",
    "dequantized",
    "descend",
    "discriminated",
    "draw",
    "energy",
    "energy_model",
    "evaluate",
    "fab",
    "fgsm",
    "figures",
    "flow",
    "flow_samples",
    "gaussian",
    "gaussian_noise",
    "gaussian_start",
    "generate",
    "given",
    "glow",
    "hmc",
    "igebm",
    "inference",
    "inpaint",
    "jeat",
    "jem",
    "joint",
    "joint_energy",
    "kl_attacked",
    "l2",
    "langevin",
    "likelihood",
    "linf",
    "losses",
    "mala",
    "marginal_energy",
    "methods",
    "metrics",
    "mixture",
    "models",
    "momentum",
    "noise",
    "noise_search",
    "perturbed",
    "pgd",
    "pgd_at",
    "pgd_search",
    "pre_act_resnet18",
    "pre_jeat",
    "prepare",
    "projected",
    "refine",
    "report",
    "robust_jem",
    "runs",
    "sam",
    "sample",
    "samplers",
    "sgld",
    "small_cnn",
    "split",
    "split_sgld",
    "square",
    "standard",
    "super_resolve",
    "trades",
    "train",
    "translate",
    "uniform",
    "weat",
    "wide_resnet",
]
