"""What may change while training runs, without compiling the step again."""

import keras


class Adjustments(keras.layers.Layer):
    """Three numbers that a training step reads and a guard may change; saved with the classifier's weights.

    Attributes:
      rate_scale: float32[], factor of the learning rate of a schedule from `schedule`.
      chain_rounds: int32[], how often each draw of negatives runs its chain.
      energy_l2: float32[], weight of the mean squared energies in the loss.
    """

    def __init__(self, energy_l2: float = 0.0):
        """energy_l2: where that weight begins."""
        super().__init__(name="adjustments", dtype="float32", trainable=False)
        self.rate_scale = self.add_weight(name="rate_scale", shape=(), initializer="ones", trainable=False)
        self.chain_rounds = self.add_weight(
            name="chain_rounds", shape=(), dtype="int32", initializer="ones", trainable=False
        )
        begin = keras.initializers.Constant(energy_l2)
        self.energy_l2 = self.add_weight(name="energy_l2", shape=(), initializer=begin, trainable=False)
        self.scales_rate = False
        self.built = True

    def schedule(
        self, rate: float | keras.optimizers.schedules.LearningRateSchedule
    ) -> keras.optimizers.schedules.LearningRateSchedule:
        """The schedule, or constant rate, times `rate_scale`: an optimizer with it can be slowed down."""
        self.scales_rate = True
        return _Scaled(rate, self.rate_scale)


class _Scaled(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate: float | keras.optimizers.schedules.LearningRateSchedule, scale: keras.Variable):
        super().__init__()
        self.rate, self.scale = rate, scale

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        return self.scale * (self.rate(step) if callable(self.rate) else self.rate)

    def get_config(self) -> dict:
        return {"rate": self.rate, "scale": float(self.scale)}
