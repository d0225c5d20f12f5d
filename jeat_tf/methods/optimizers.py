"""Optimizers and learning rates beyond Keras' own."""

from typing import Any

import keras


class CoupledSGD(keras.optimizers.SGD):
    """Keras' SGD with the weight decay of PyTorch's: decay times the weight is added to its gradient.

    The decay then goes through the momentum, so that at momentum m it is 1 / (1 - m) times as strong as Keras' own
    `weight_decay`, which takes rate * decay * weight off the weight. It is added after clipping.
    """

    def __init__(
        self, learning_rate: Any = 0.01, *, coupled_decay: float = 0.0, decay_kernels: bool = False, **kwargs: Any
    ):
        """
        Args:
          learning_rate: a rate or a schedule.
          coupled_decay: 0 is Keras' SGD.
          decay_kernels: decay weights of two axes or more alone: no bias, and nothing of a normalisation.
          **kwargs: of `keras.optimizers.SGD`.
        """
        super().__init__(learning_rate, **kwargs)
        self.coupled_decay, self.decay_kernels = coupled_decay, decay_kernels

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        if self.coupled_decay and (len(variable.shape) > 1 or not self.decay_kernels):
            gradient = gradient + self.coupled_decay * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return super().get_config() | {"coupled_decay": self.coupled_decay, "decay_kernels": self.decay_kernels}


class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule, or a constant rate, times min(1, (step + 1) / warmup_steps)."""

    def __init__(self, rate: float | keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int):
        super().__init__()
        self.rate, self.warmup_steps = rate, warmup_steps

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        rate = self.rate(step) if callable(self.rate) else self.rate
        share = (keras.ops.cast(step, "float32") + 1.0) / self.warmup_steps
        return rate * keras.ops.minimum(1.0, share)

    def get_config(self) -> dict:
        return {"rate": self.rate, "warmup_steps": self.warmup_steps}


class Cyclic(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to the rate in the middle of the run, and down to 0: Fast adversarial training's."""

    def __init__(self, rate: float, total: int):
        super().__init__()
        self.rate, self.total = rate, total

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        place = 2.0 * (keras.ops.cast(step, "float32") + 0.5) / self.total
        return self.rate * keras.ops.maximum(0.0, 1.0 - keras.ops.abs(place - 1.0))

    def get_config(self) -> dict:
        return {"rate": self.rate, "total": self.total}
