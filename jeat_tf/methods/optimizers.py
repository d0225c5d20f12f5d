"""Optimizers beyond Keras' own."""

from typing import Any

import keras


class CoupledSGD(keras.optimizers.SGD):
    """Keras' SGD with the weight decay of PyTorch's: decay times the weight is added to its gradient.

    The decay then goes through the momentum, so that at momentum m it is 1 / (1 - m) times as strong as Keras' own
    `weight_decay`, which takes rate * decay * weight off the weight. It is added after clipping.
    """

    def __init__(self, learning_rate: Any = 0.01, *, coupled_decay: float = 0.0, **kwargs: Any):
        """
        Args:
          learning_rate: a rate or a schedule.
          coupled_decay: 0 is Keras' SGD.
          **kwargs: of `keras.optimizers.SGD`.
        """
        super().__init__(learning_rate, **kwargs)
        self.coupled_decay = coupled_decay

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        if self.coupled_decay:
            gradient = gradient + self.coupled_decay * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return super().get_config() | {"coupled_decay": self.coupled_decay}
