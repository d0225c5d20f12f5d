"""How fast is each compiler and precision on this machine: training steps, chain steps and AutoAttack?

    bash benchmarks/gpu.sh                                        # every row, each in a process of its own
    python benchmarks/gpu.py --compiler=xla --precision=bfloat16  # one row

Nets have random weights, because speed does not depend on them. AutoAttack's images are labelled by the net itself, so
that none is skipped. A compiled function runs once before its clock starts, and results are fetched before it stops.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.surrogates import inference, marginal_energy

_COMPILER = flags.DEFINE_enum("compiler", "graph", ["graph", "xla"], "how functions are compiled")
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "tf32", "bfloat16"], "of products and activations")
_NET = flags.DEFINE_enum("net", "wide_resnet", ["wide_resnet", "small_cnn"], "WRN-28-10, or a net for a trial")
_BATCH = flags.DEFINE_integer("batch_size", 64, "images in a batch of training and of chains")
_IMAGES = flags.DEFINE_integer("num_images", 256, "images that AutoAttack attacks")
_REPEATS = flags.DEFINE_integer("repeats", 10, "times each is measured")
_CHAIN = flags.DEFINE_integer("chain_steps", 20, "K")
_SHAPE = (32, 32, 3)
_CLASSES = 10


class Row(NamedTuple):
    """What one compiler and precision reach, in images a second or steps a second."""

    training_images: float
    chain_steps: float
    attacked_images: float


def net_of(name: str, precision: str) -> keras.Model:
    """A net of random weights in that precision; tf32 is float32 whose products the GPU rounds."""
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    keras.utils.set_random_seed(0)
    if name == "small_cnn":
        return jt.models.small_cnn(_SHAPE, num_classes=_CLASSES)
    return jt.models.wide_resnet(_SHAPE, num_classes=_CLASSES, depth=28, width=10)


def measured(net: keras.Model, *, xla: bool, batch: int, images: int, repeats: int, steps: int) -> Row:
    """Rates of a net.

    Args:
      net: images float32[B, 32, 32, 3] -> logits.
      xla: functions are compiled by XLA.
      batch: images in a batch of training and of chains.
      images: that AutoAttack attacks.
      repeats: of each measurement of which the median counts.
      steps: of the chain, K.
    """
    x = np.random.default_rng(0).random((max(batch, images), *_SHAPE), np.float32)
    labels = net.predict(x, verbose=0).argmax(-1)
    sgld = jt.samplers.SGLD(steps)
    model = jt.EnergyClassifier(net, jt.methods.JEAT(epsilon=8 / 255, chain=sgld, buffer_size=2 * batch))
    model.compile(keras.optimizers.SGD(0.0), jit_compile=xla)
    model.adapt(x[:batch], labels[:batch])
    step = tf.function(model.train_step, autograph=False, jit_compile=xla)
    data = tf.constant(x[:batch]), tf.constant(labels[:batch])

    energy_fn = marginal_energy(inference(net))
    chain = tf.function(lambda x: sgld(energy_fn, x, seed=tf.constant([0, 1])), autograph=False, jit_compile=xla)
    oracle = Oracle(inference(net), jit_compile=xla)

    def attack() -> None:
        autoattack(oracle, x[:images], labels[:images], seed=[0, 0], ball=jt.Linf(8 / 255))

    return Row(
        batch / _seconds(lambda: step(data)["loss"].numpy(), repeats),
        steps / _seconds(lambda: chain(data[0]).numpy(), repeats),
        images / _seconds(attack, 1),
    )


def _seconds(act: Callable[[], object], repeats: int) -> float:
    act()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def main(_: list[str]) -> None:
    net = net_of(_NET.value, _PRECISION.value)
    row = measured(
        net,
        xla=_COMPILER.value == "xla",
        batch=_BATCH.value,
        images=_IMAGES.value,
        repeats=_REPEATS.value,
        steps=_CHAIN.value,
    )
    print(f"| {_COMPILER.value} | {_PRECISION.value} | " + " | ".join(f"{value:.3g}" for value in row) + " |")


if __name__ == "__main__":
    app.run(main)
