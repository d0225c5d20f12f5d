"""Nets: functional Keras models, images in [0, 1] -> logits, normalisation inside."""

from jeat_tf.models.layers import ACTIVATIONS, NORMS
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.models.small_cnn import small_cnn
from jeat_tf.models.wide_resnet import wide_resnet

__all__ = ["ACTIVATIONS", "NORMS", "in_bfloat16", "small_cnn", "wide_resnet"]
