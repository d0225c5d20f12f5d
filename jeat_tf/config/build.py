"""Settings -> the objects that a run is made of."""

from typing import Any, cast

import keras

from jeat_tf.config.shared import Data, size_of
from jeat_tf.config.train import Optimizer
from jeat_tf.core.units import numbers
from jeat_tf.data.datasets import open_dataset
from jeat_tf.data.image_data import ImageData
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.optimizers import CoupledSGD, Cyclic, Warmup
from jeat_tf.models.files import load_net
from jeat_tf.models.nets import Net


def dataset(config: Data) -> ImageData:
    """The data set, open and prepared."""
    if not config.dataset:
        raise ValueError("expected a data set, received nothing; set --dataset")
    return open_dataset(
        config.dataset, config.data_dir or None, download=config.download, image_size=size_of(config.image_size)
    )


def net(
    config: Net, image_shape: tuple[int, int, int], num_classes: int, *, precision: str = "float32", init_from: str = ""
) -> keras.Model:
    """A new net, its weights drawn from Keras' global seed, or a net to fine-tune.

    A net of `init_from` with the same architecture gives its weights, all but those of the last layer where the classes
    are others. A net of another architecture is taken itself, with a new last layer where the classes are others.

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
        return _fine_tuned(new, load_net(init_from), init_from)
    return new


def _fine_tuned(new: keras.Model, source: keras.Model, path: str) -> keras.Model:
    weights, expected = source.get_weights(), [tuple(weight.shape) for weight in new.weights]
    shapes = [weight.shape for weight in weights]
    head = len(new.layers[-1].weights)
    if shapes == expected:
        new.set_weights(weights)
        return new
    if head and len(shapes) == len(expected) and shapes[:-head] == expected[:-head]:
        new.set_weights([*weights[:-head], *new.get_weights()[-head:]])
        print(f"init_from: the weights of {path}, and a new head for {new.output_shape[-1]} classes")
        return new
    wanted = new.input_shape[1:]
    if any(size not in (None, other) for size, other in zip(source.input_shape[1:], wanted, strict=True)):
        raise ValueError(
            f"expected a net for images of shape {list(wanted)} in --init_from={path}, received one for "
            f"{list(source.input_shape[1:])}"
        )
    if source.output_shape[-1] == new.output_shape[-1]:
        print(f"init_from: the net of {path} itself, in place of --net")
        return source
    last = source.layers[-1]
    if not isinstance(last, keras.layers.Dense):
        raise ValueError(
            f"expected a net whose last layer is a dense one in --init_from={path}, to give it {new.output_shape[-1]} "
            f"classes, received {type(last).__name__}"
        )
    logits = keras.layers.Dense(new.output_shape[-1], dtype="float32", name="logits")(last.input)
    print(f"init_from: the net of {path} itself, in place of --net, with a new head for {new.output_shape[-1]} classes")
    return keras.Model(source.inputs, logits, name=source.name)


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
