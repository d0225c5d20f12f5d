"""Learning rates as functions of the step, beyond Keras' own."""

import keras


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
