"""Keras callbacks for training: what watches a run, keeps it, and brings it back."""

from jeat_tf.methods.callbacks import Checkpoints, RobustAccuracy, ValidateAverage
from jeat_tf.methods.energy_changes import EnergyChanges
from jeat_tf.methods.guard import DivergenceError, Guard
from jeat_tf.methods.monitoring import Board
from jeat_tf.methods.overfitting import OverfittingAlarm

__all__ = [
    "Board",
    "Checkpoints",
    "DivergenceError",
    "EnergyChanges",
    "Guard",
    "OverfittingAlarm",
    "RobustAccuracy",
    "ValidateAverage",
]
