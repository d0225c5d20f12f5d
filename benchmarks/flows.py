"""How good are the digits flows as densities, and does a judge see their samples as asked?

    python benchmarks/flows.py --runs=runs/digits/flow-0,runs/digits/residual_flow-0 --temperatures=1,0.7

For each run it prints the bits per dimension of the dequantised test images, with log p(x) of equally frequent classes,
as the mean and the standard error over ten estimates of the log-determinants (Glow's are exact); the clean accuracy;
and, for each temperature, the share of 1,000 samples, drawn three times, that the judge sees as the class asked for.
"""

import math
import os

import numpy as np
import tensorflow as tf
from absl import app, flags
from rows import head, row, spread

from jeat_tf.config import build
from jeat_tf.config.train import TrainConfig
from jeat_tf.data.datasets import as_floats
from jeat_tf.models.files import load_net
from jeat_tf.models.flow import bits_per_dimension, flow_samples
from jeat_tf.models.residual_flow import log_densities

HERE = os.path.dirname(__file__)
_RUNS = flags.DEFINE_list("runs", None, "folders of runs, or .keras files", required=True)
_JUDGE = flags.DEFINE_string("judge", os.path.join(HERE, "judges", "digits.keras"), "a classifier, as a run or a file")
_TEMPERATURES = flags.DEFINE_list("temperatures", ["1"], "factors on the standard deviation of the latents")
_DRAWS, _NUM, _BIN = 10, 1000, 1 / 16


def main(_: list[str]) -> None:
    images, labels = build.dataset(TrainConfig().data).arrays("test")
    x = as_floats(images)
    noise = np.random.default_rng(0).random(x.shape, np.float32) - 0.5
    judge, asked = load_net(_JUDGE.value), np.arange(_NUM) % 10
    columns = [f"seen as asked at {temperature}" for temperature in _TEMPERATURES.value]
    print(head(["run", "bits per dimension", "clean", *columns]))
    for run in _RUNS.value:
        net = load_net(run)
        joint = log_densities(net, tf.constant(x + noise * _BIN), draws=_DRAWS, seed=tf.constant([0, 0]))
        log_p = tf.reduce_logsumexp(joint, axis=-1) - math.log(joint.shape[-1])
        bits = bits_per_dimension(log_p, x.shape[1:], bin_width=_BIN).numpy().mean(axis=1)
        clean = np.mean(net.predict(x, verbose=0).argmax(-1) == labels)
        seen = []
        for temperature in _TEMPERATURES.value:
            draw = flow_samples(net, float(temperature))
            shares = []
            for seed in range(3):
                samples = draw(tf.constant(asked), tf.constant([0, seed]))
                shares.append(100 * np.mean(judge.predict(samples, verbose=0).argmax(-1) == asked))
            seen.append(spread(shares))
        error = bits.std(ddof=1) / math.sqrt(_DRAWS)
        print(row([run, f"{bits.mean():.3f} ± {error:.3f}", f"{clean:.1%}", *seen]), flush=True)


if __name__ == "__main__":
    app.run(main)
