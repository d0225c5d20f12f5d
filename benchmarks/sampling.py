"""How much does `sample` add to its gradients? 1,000 images, 200 steps, against 200 gradients at the best batch.

    python benchmarks/sampling.py --model=runs/digits/jeat-0 [--num=1000] [--steps=200]

The gradient is that of E(x, y) for images, compiled, timed on each batch size as the least of five. `sample` is timed
from its first trace to its last file, with its readings, traces and animation. Times are of the processor, all threads
together, because a clock counts other work on the machine too.
"""

import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from jeat_tf.attacks.surrogates import inference, joint_energy
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.loops import input_gradient
from jeat_tf.runs.trained import open_trained
from jeat_tf.sample.run import sample

_MODEL = flags.DEFINE_string("model", None, "folder of a run", required=True)
_NUM = flags.DEFINE_integer("num", 1000, "images")
_STEPS = flags.DEFINE_integer("steps", 200, "steps of the chain")
_BATCHES = (50, 100, 200, 500, 1000)


def main(_: list[str]) -> None:
    config = replace(SampleConfig(), model=_MODEL.value, num=_NUM.value, stages=f"sgld:steps={_STEPS.value}")
    seconds = {size: _gradient_seconds(config, size) for size in _BATCHES}
    for size, value in seconds.items():
        print(f"one gradient of {size} images: {1000 * value:.2f} ms, {1e6 * value / size:.1f} us an image")
    best = min(seconds, key=lambda size: seconds[size] / size)
    least = _STEPS.value * seconds[best] * _NUM.value / best
    with tempfile.TemporaryDirectory() as folder:
        took = sample(replace(config, batch_size=best, output_dir=folder)).cpu_seconds
    print(f"{_STEPS.value} gradients of {_NUM.value} images in batches of {best}: {least:.2f} s")
    print(f"sample: {took:.2f} s, {took / least:.2f} times that")


def _gradient_seconds(config: SampleConfig, size: int) -> float:
    trained = open_trained(config.model, config.data)
    labels = tf.constant(np.arange(size) % trained.data.num_classes)
    energy_fn = joint_energy(inference(trained.net), labels)
    gradient = tf.function(lambda x: input_gradient(energy_fn, x), autograph=False)
    x = tf.random.stateless_uniform([size, *trained.data.image_shape], [0, 0])
    gradient(x)
    taken = []
    for _ in range(5):
        started = time.process_time()
        gradient(x).numpy()
        taken.append(time.process_time() - started)
    return min(taken)


if __name__ == "__main__":
    app.run(main)
