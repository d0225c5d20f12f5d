"""Settings -> the objects that a run is made of."""

from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.shared import Data, size_of
from jeat_tf.config.train import Optimizer
from jeat_tf.core.units import numbers
from jeat_tf.data.datasets import open_dataset
from jeat_tf.data.image_data import ImageData
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.optimizers import CoupledSGD, Cyclic, Warmup
from jeat_tf.models.heads import before_last_dense
from jeat_tf.models.nets import Net
from jeat_tf.models.origin import named_net
from jeat_tf.models.precision import random_images


def dataset(config: Data) -> ImageData:
    """The data set, open and prepared."""
    if not config.dataset:
        raise ValueError("expected a data set, received nothing; set --dataset")
    return open_dataset(
        config.dataset, config.data_dir or None, download=config.download, image_size=size_of(config.image_size)
    )


def compiles(jit_compile: str) -> bool:
    """Whether XLA compiles attacks and chains: --jit_compile is one of `JIT`."""
    return jit_compile == "true" or (jit_compile == "auto" and bool(tf.config.list_physical_devices("GPU")))


def net(
    config: Net, image_shape: tuple[int, int, int], num_classes: int, *, precision: str = "float32", init_from: str = ""
) -> keras.Model:
    """A new net, its weights drawn from Keras' global seed, or a net to fine-tune.

    A net of `init_from` with the same architecture gives its weights, all but those of the last layer where the classes
    are others. A net of another architecture is taken itself, with a new last layer where the classes are others. So is
    one whose weights would fit, but which computes something else of them.

    Raises:
      ValueError: the net of `init_from` takes other images, or its last layer is not a dense one.
    """
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        new = config.build(image_shape, num_classes)
    finally:
        keras.config.set_dtype_policy(default)
    if init_from:
        return _fine_tuned(new, init_from, 1e-3 if precision == "float32" else 0.15)
    return new


def _fine_tuned(new: keras.Model, init_from: str, tolerance: float) -> keras.Model:
    named = named_net(init_from)
    try:
        read = named.read()
    except ValueError as error:
        raise ValueError(f"--init_from={init_from}: {error}") from error
    source, path = read.net, named.path
    weights, expected = source.get_weights(), [tuple(weight.shape) for weight in new.weights]
    shapes = [weight.shape for weight in weights]
    head = len(new.layers[-1].weights)
    fresh = new.get_weights()
    if shapes == expected:
        new.set_weights(weights)
        if _alike(new, source, tolerance):
            return new
        new.set_weights(fresh)
    elif head and len(shapes) == len(expected) and shapes[:-head] == expected[:-head]:
        new.set_weights([*weights[:-head], *fresh[-head:]])
        before, after = before_last_dense(new), before_last_dense(source)
        if before is None or after is None or _alike(before, after, tolerance):
            print(f"init_from: the weights of {path}, and a new head for {new.output_shape[-1]} classes")
            return new
    for change in read.changes:  # they are of the net itself, and not of weights that a new net takes
        print(f"init_from: {change}")
    wanted = new.input_shape[1:]
    if any(size not in (None, other) for size, other in zip(source.input_shape[1:], wanted, strict=True)):
        raise ValueError(
            f"expected a net for images of shape {list(wanted)} in --init_from={path}, received one for "
            f"{list(source.input_shape[1:])}"
        )
    if source.output_shape[-1] == new.output_shape[-1]:
        print(f"init_from: the net of {path} itself, in place of --net")
        return source
    body = before_last_dense(source)
    if body is None:
        raise ValueError(
            f"expected a net whose last layer is a dense one in --init_from={path}, to give it {new.output_shape[-1]} "
            f"classes, received {type(source.layers[-1]).__name__}"
        )
    logits = keras.layers.Dense(new.output_shape[-1], dtype="float32", name="new_logits")(body.outputs[0])
    print(f"init_from: the net of {path} itself, in place of --net, with a new head for {new.output_shape[-1]} classes")
    return keras.Model(body.inputs[0], logits, name=source.name)


def _alike(one: keras.Model, other: keras.Model, tolerance: float) -> bool:
    """Whether two nets give the same outputs for random images, to `tolerance` times the largest."""
    a, b = (np.asarray(net(random_images(one), training=False), np.float64) for net in (one, other))
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=tolerance * np.nanmax(np.abs(b)), equal_nan=True)


def optimizer(
    config: Optimizer, steps_per_epoch: int, epochs: int, adjustments: Adjustments
) -> keras.optimizers.Optimizer:
    """The Keras optimizer, its rate a schedule of the batches seen that a guard may scale."""
    total = steps_per_epoch * epochs
    rate: float | keras.optimizers.schedules.LearningRateSchedule = config.learning_rate
    # The last step with the old rate: Keras' schedule changes after its boundary.
    boundaries = [round(epoch * steps_per_epoch) - 1 for epoch in numbers(config.decay_epochs)]
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, total)
    elif config.schedule == "cyclic":
        rate = Cyclic(rate, total)
    elif boundaries:
        rates = [rate * config.decay_factor**i for i in range(len(boundaries) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    if config.warmup_steps:
        rate = Warmup(rate, config.warmup_steps)
    shared = {
        "global_clipnorm": config.clip_norm or None,
        "use_ema": config.ema_momentum > 0,
        "ema_momentum": config.ema_momentum or 0.99,
        "gradient_accumulation_steps": config.accumulate_steps if config.accumulate_steps > 1 else None,
    }
    scaled = adjustments.schedule(rate)
    if config.optimizer == "sgd":
        return CoupledSGD(
            scaled,
            coupled_decay=config.weight_decay,
            decay_kernels=config.decay_kernels,
            momentum=config.momentum,
            **cast(dict[str, Any], shared),
        )
    return keras.optimizers.Adam(scaled, beta_1=config.momentum, weight_decay=config.weight_decay or None, **shared)
