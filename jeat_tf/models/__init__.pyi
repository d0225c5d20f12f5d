from .cnn import small_cnn
from .flow import ActNorm, bits_per_dimension, flow_samples, initialize_flow
from .foreign import Adapted, adapted, as_logits
from .glow import glow
from .layers import ACTIVATIONS, NORMS
from .parts import split
from .pre_act import pre_act_resnet18
from .precision import in_bfloat16, in_float32
from .residual import wide_resnet
from .residual_flow import log_densities, residual_flow

__all__ = [
    "ACTIVATIONS",
    "ActNorm",
    "Adapted",
    "NORMS",
    "adapted",
    "as_logits",
    "bits_per_dimension",
    "flow_samples",
    "glow",
    "in_bfloat16",
    "in_float32",
    "initialize_flow",
    "log_densities",
    "pre_act_resnet18",
    "residual_flow",
    "small_cnn",
    "split",
    "wide_resnet",
]
