"""Do two replicas of 32 images step as one device of 64? Prints the largest differences of gradients, as JSON.

python benchmarks/replicas.py [--first=0] [--last=...]      of all combinations

Each method is trained for one step of SGD with rate 1, so that a difference of weights is one of gradients. Methods
that draw nothing are compared with one device of 64 images. Where something is drawn, each replica draws its own. Two
threads without tf.distribute then do what the replicas do, and exchange their gradients.
"""

import argparse
import contextlib
import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.replicas import Replica
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.updates import UPDATES, Free
from jeat_tf.train.devices import strategy_of

SIZE = 64
CERTAIN = ("standard", "pgd_at", "trades", "weat", "pre_jeat", "der")
SMALL = {"epsilon": 0.1, "attack_steps": 2, "chain_steps": 2, "buffer_size": 2 * SIZE, "batch_size": SIZE}
L = keras.layers


def model(settings: dict[str, Any]) -> EnergyClassifier:
    """A small net with the method and the update of the settings."""
    keras.utils.set_random_seed(0)
    layers = [L.Rescaling(2.0, -1.0), L.Conv2D(4, 3, strides=2, padding="same"), L.LeakyReLU(0.2), L.Flatten()]
    flow = {"net": "glow"} if settings["method"] == "flow" else {}  # the settings want one; any net will do
    config = replace(TrainConfig(), strict=False, **SMALL | flow | settings)
    update = config.update
    if isinstance(update, Free):
        update = dataclasses.replace(update, ball=config.ball, batch_size=SIZE)
    made = EnergyClassifier(keras.Sequential([keras.Input((8, 8, 1)), *layers, L.Dense(10)]), config.method, update)
    made.compile(keras.optimizers.SGD(1.0))
    return made


def fitted(made: EnergyClassifier, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The weights after one step."""
    made.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(SIZE), verbose=0)
    return [weight.numpy() for weight in made.net.trainable_variables]


def by_threads(make: Callable[[], EnergyClassifier], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The weights after one step of two threads, each with half of the images and its own copy of the net."""
    here, barrier, given = threading.local(), threading.Barrier(2), [None, None]
    models, faults = [make(), make()], []
    for made in models:
        made.adapt(x, y)

    def replica() -> Replica:
        return Replica(here.index, 2)

    def mean(values: Any) -> Any:
        given[here.index] = values
        barrier.wait()
        both = list(given)
        barrier.wait()
        return tf.nest.map_structure(lambda a, b: None if a is None else (a + b) / 2, *both)

    def step(index: int) -> None:
        here.index = index
        rows = slice(index * SIZE // 2, (index + 1) * SIZE // 2)
        try:
            models[index].train_step((tf.constant(x[rows]), tf.constant(y[rows])))
        except BaseException as error:
            faults.append(error)
            barrier.abort()

    def apply(optimizer: Any, gradients: list, variables: list) -> None:
        optimizer.apply(gradients, variables)

    steps, rooms = "jeat_tf.methods.steps", ("jeat_tf.methods.steps", "jeat_tf.methods.classifier")
    patches = [mock.patch(f"{room}.mean_over_replicas", mean) for room in rooms]
    patches += [
        mock.patch(f"{room}.this_replica", replica)
        for room in (*rooms, "jeat_tf.core.replicas", "jeat_tf.samplers.replay_buffer")
    ]
    with contextlib.ExitStack() as stack:
        for patch in [*patches, mock.patch(f"{steps}.apply_means", apply)]:
            stack.enter_context(patch)
        threads = [threading.Thread(target=step, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if faults:
        raise faults[0]
    return [weight.numpy() for weight in models[0].net.trainable_variables]


def difference(settings: dict[str, Any], strategy: tf.distribute.Strategy, *, alone: bool) -> float:
    """The largest difference of a gradient between two replicas and what they are compared with."""
    rng = np.random.default_rng(0)
    x, y = rng.random((SIZE, 8, 8, 1), np.float32), np.arange(SIZE) % 10
    with strategy.scope():
        together = model(settings)
    found = fitted(together, x, y)
    wanted = fitted(model(settings), x, y) if alone else by_threads(lambda: model(settings), x, y)
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))


def combinations() -> list[tuple[bool, str, str]]:
    """(whether the comparison is with one device, method, update) of all comparisons."""
    found = []
    for alone in (True, False):
        for method in CERTAIN if alone else sorted(methods()):
            # Free makes its own adversarial images of standard training.
            found += [
                (alone, method, update) for update in ("none", *UPDATES) if update != "free" or method == "standard"
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=len(combinations()))
    asked = parser.parse_args()
    strategy = strategy_of(replace(TrainConfig(), devices="2", batch_size=SIZE))
    for alone, method, update in combinations()[asked.first : asked.last]:
        settings = {"method": method, "update": update} | ({"attack_start": "image"} if alone else {})
        found = difference(settings, strategy, alone=alone)
        print(json.dumps({"alone": alone, "method": method, "update": update, "difference": found}), flush=True)


if __name__ == "__main__":
    main()
