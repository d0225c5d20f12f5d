"""What a run would cost, from a few steps of it."""

import time

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference, marginal_energy
from jeat_tf.config import build
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.loops import input_gradient
from jeat_tf.runs.training import Plan
from jeat_tf.train.images import steps_in_epoch, stream, training_images
from jeat_tf.train.model import classifier, cost_of

_TIMED_STEPS, _TIMED_IMAGES, _LONGEST_TIMED = 9, 4, 10.0  # of a dry run: steps, images, seconds a step


def plan(config: TrainConfig) -> Plan:
    """What a run would cost, from a few steps of it, or from one gradient where a step takes long; writes nothing.

    Returns:
      plan: what a step costs, and the hours that follow.

    Raises:
      ValueError: bad settings, a batch larger than the data.
    """
    data = build.dataset(config.data)
    images = training_images(config, data)
    steps_per_epoch = steps_in_epoch(config, images)
    taught = None
    if config.stream.pseudo_labels:
        assert images.extra is not None  # settings without them are refused
        images = images._replace(extra=(images.extra[0], np.zeros_like(images.extra[1])))  # any label takes as long
        if config.stream.pseudo_labels == "self":
            taught = plan(config.teacher("")).hours
    keras.utils.set_random_seed(config.run.seed)
    model = classifier(config, data, images, steps_per_epoch)
    cost = cost_of(config, model, data)
    seconds = cost.flops_per_step / _speed(model.net, cost.forward_flops_per_image)
    basis = f"FLOPs of a step at the speed of a gradient of {_TIMED_IMAGES} images"
    if seconds <= _LONGEST_TIMED:
        clock = _StepClock()
        batches = stream(config, data, images, first_step=0)
        model.fit(batches, steps_per_epoch=_TIMED_STEPS + 1, verbose=0, callbacks=[clock])
        seconds = float(np.median(clock.seconds[1:]))  # the first one traces
        basis = f"median of {_TIMED_STEPS} steps"
    steps = steps_per_epoch * config.run.epochs
    hours = seconds * steps / 3600 + (taught or 0.0)
    return Plan(**vars(cost), seconds_per_step=seconds, basis=basis, steps=steps, hours=hours, teacher_hours=taught)


def _speed(net: keras.Model, flops: float) -> float:
    """FLOPs a second, in gradients of a few images."""
    x = tf.fill([_TIMED_IMAGES, *net.input_shape[1:]], 0.5)
    gradient = tf.function(lambda: input_gradient(marginal_energy(inference(net)), x), autograph=False)
    gradient()
    begun = time.perf_counter()
    gradient().numpy()
    return 2 * flops * _TIMED_IMAGES / (time.perf_counter() - begun)


class _StepClock(keras.callbacks.Callback):
    def on_train_begin(self, logs: dict | None = None) -> None:
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._begun)
