from .editing import Counterfactual, counterfactual, denoise, inpaint, super_resolve, translate
from .generation import generate
from .refinement import refine
from .replay_buffer import ReplayBuffer
from .stages import Stage
from .start_layer import Given, StartLayer
from .starts import ClassComponents, ClassGaussians, Exact, Gaussian, Mixture, Uniform
from .values import HMC, MALA, SGLD, Annealed, Contrast, Momentum, NormalizedDescent, SplitSGLD, Targeted
from .walks import Walk

__all__ = [
    "Annealed",
    "ClassComponents",
    "ClassGaussians",
    "Contrast",
    "Counterfactual",
    "Exact",
    "Gaussian",
    "Given",
    "HMC",
    "MALA",
    "Mixture",
    "Momentum",
    "NormalizedDescent",
    "ReplayBuffer",
    "SGLD",
    "SplitSGLD",
    "Stage",
    "StartLayer",
    "Targeted",
    "Uniform",
    "Walk",
    "counterfactual",
    "denoise",
    "generate",
    "inpaint",
    "refine",
    "super_resolve",
    "translate",
]
