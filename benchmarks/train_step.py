"""Is a JEAT step as fast as its parts: one attack gradient, K chain gradients, one training step?

    python benchmarks/train_step.py [--steps=60]

Times, interleaved in one process, the step that `fit` runs for configs/digits/jeat.flags and each part alone as a
compiled function on the same net and batch. Reports medians, and the ratio of the step to the sum of its parts.
"""

import functools
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from jeat_tf.attacks.surrogates import inference, joint_energy, marginal_energy
from jeat_tf.core.energy import cross_entropy, energy
from jeat_tf.core.loops import input_gradient
from jeat_tf.data.datasets import as_floats, open_dataset
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.models.cnn import small_cnn

_STEPS = flags.DEFINE_integer("steps", 60, "times each is measured")
_CHAIN = flags.DEFINE_integer("chain_steps", 20, "K")


def main(_: list[str]) -> None:
    data = open_dataset("digits")
    images, labels = data.arrays("train")
    images = as_floats(images)
    net = small_cnn(data.image_shape, data.num_classes)
    model = EnergyClassifier.from_preset("digits/jeat", net, chain_steps=_CHAIN.value)
    model.adapt(images, labels)
    model.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    x, y = tf.constant(images[:64]), tf.constant(labels[:64])

    function = functools.partial(tf.function, autograph=False)
    step = function(lambda: model.train_step((x, y)))
    # An optimizer of its own, on copies that the step does not use: both would otherwise train one net twice.
    other = keras.models.clone_model(net)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(other.trainable_variables)

    @function
    def training_step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = other(x, training=True)
            gap = tf.reduce_mean(energy(logits)) - tf.reduce_mean(energy(other(x, training=True)))
            loss = tf.reduce_mean(cross_entropy(logits, y)) + gap
        optimizer.apply(tape.gradient(loss, other.trainable_variables), other.trainable_variables)
        return loss

    parts = {
        "step of fit": step,
        "attack gradient": function(lambda: input_gradient(joint_energy(inference(net), y), x)),
        "chain gradient": function(lambda: input_gradient(marginal_energy(inference(net)), x)),
        "training step": training_step,
    }
    median = {name: np.median(times) for name, times in _measure(parts, _STEPS.value).items()}
    for name, seconds in median.items():
        print(f"{name:16} {1e3 * seconds:8.2f} ms")
    total = median["attack gradient"] + _CHAIN.value * median["chain gradient"] + median["training step"]
    print(f"sum of the parts {1e3 * total:8.2f} ms (K = {_CHAIN.value})")
    print(f"ratio            {median['step of fit'] / total:8.2f}")


def _measure(functions: dict[str, Callable], count: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(count):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    app.run(main)
