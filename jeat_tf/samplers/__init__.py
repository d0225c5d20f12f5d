"""Samplers: chains, where they start, what they remember, and how stages are put together."""

from jeat_tf.samplers.generate import Stage, contrast, generate
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.sgld import Steps, coupled, sgld, split_sgld
from jeat_tf.samplers.starts import class_gaussians, uniform

__all__ = [
    "ReplayBuffer",
    "Stage",
    "Steps",
    "class_gaussians",
    "contrast",
    "coupled",
    "generate",
    "sgld",
    "split_sgld",
    "uniform",
]
