"""Nets: functional Keras models, images in [0, 1] -> logits, normalisation inside."""

from jeat_tf.models.glow import bits_per_dimension, flow_samples, glow
from jeat_tf.models.glow import initialize as initialize_flow
from jeat_tf.models.layers import ACTIVATIONS, NORMS, ActNorm
from jeat_tf.models.pre_act_resnet import pre_act_resnet18
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.models.small_cnn import small_cnn
from jeat_tf.models.split import split
from jeat_tf.models.wide_resnet import wide_resnet

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "ActNorm",
    "bits_per_dimension",
    "flow_samples",
    "glow",
    "in_bfloat16",
    "initialize_flow",
    "pre_act_resnet18",
    "small_cnn",
    "split",
    "wide_resnet",
]
