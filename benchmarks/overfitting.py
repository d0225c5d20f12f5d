"""Does the alarm of catastrophic overfitting come before robust accuracy falls, and never in a healthy run?

    python benchmarks/overfitting.py --runs=runs/overfitting [--seeds=0,1,2,3,4] [--kinds=driven,healthy]

Fast adversarial training (configs/digits/fast.flags) on digits of 16x16 pixels, with ReLU and a learning rate of 5e-3.
`healthy` is the preset's attack: epsilon 26/255, one step of 1.25 epsilon from a random start. `driven` has twice the
epsilon, one step of that length and no random start, which is known to overfit. Every five steps the alarm looks at the
validation images, and PGD-10 attacks 200 test images, with the epsilon of the run. The fall is the first of five looks
in a row at which that accuracy is 5 points below its highest value before. Runs with a result are not repeated. Writes
<runs>/<kind>-<seed>.json and prints a Markdown table. Small scale: 1,260 training images, 150 steps.
"""

import json
import os
from typing import Any

import keras
from absl import app, flags
from rows import head, row

from jeat_tf.attacks.values import PGD
from jeat_tf.callbacks import OverfittingAlarm, RobustAccuracy
from jeat_tf.config import build
from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import write_json
from jeat_tf.core.flat import replace
from jeat_tf.data.datasets import as_floats
from jeat_tf.train.images import steps_in_epoch, stream, training_images
from jeat_tf.train.model import classifier

_RUNS = flags.DEFINE_string("runs", "runs/overfitting", "folder of the results")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_KINDS = flags.DEFINE_list("kinds", ["driven", "healthy"], "kinds of runs")

_COMMON = {"image_size": "16x16", "activation": "relu", "learning_rate": 5e-3, "epochs": 18}
_DRIVEN = {"epsilon": 52 / 255, "attack_step_size": 52 / 255, "attack_start": "image"}
_STEPS, _EVERY, _IMAGES = 150, 5, 200
_POINTS, _IN_A_ROW = 0.05, 5  # what a fall is
_COLUMNS = (
    "run",
    "seed",
    "highest PGD-10",
    "last PGD-10",
    "largest fall of alignment",
    "alarm at step",
    "fall at step",
)


class Looks(keras.callbacks.Callback):
    """PGD-10 accuracy of the test images, at the steps that the alarm looks at too."""

    def __init__(self, robust: RobustAccuracy):
        super().__init__()
        self.robust = robust
        self.found: list[tuple[int, float]] = []

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self.robust.set_model(model)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        step = self.model.steps_taken
        if step % _EVERY == 0:
            measured: dict[str, float] = {}
            self.robust.on_epoch_end(0, measured)
            self.found.append((step, measured["val_robust_accuracy"]))


def main(_: list[str]) -> None:
    os.makedirs(_RUNS.value, exist_ok=True)
    print(head(_COLUMNS))
    for kind in _KINDS.value:
        for seed in _SEEDS.value:
            found = _run(kind, int(seed))
            robust = [accuracy for _, accuracy in found["robust"]]
            cells = [
                kind,
                seed,
                f"{max(robust):.1%}",
                f"{robust[-1]:.1%}",
                f"{max(fall for _, _, fall in found['alignments']):.2f}",
                found["alarm"] or "-",
                _fall(found) or "-",
            ]
            print(row(cells), flush=True)


def _fall(found: dict[str, Any]) -> int | None:
    """The first of some looks in a row at which robust accuracy is 5 points below its highest value before."""
    steps, robust = zip(*found["robust"], strict=True)
    for i in range(1, len(steps)):
        if i + _IN_A_ROW <= len(steps) and max(robust[i : i + _IN_A_ROW]) < max(robust[:i]) - _POINTS:
            return int(steps[i])
    return None


def _run(kind: str, seed: int) -> dict[str, Any]:
    path = os.path.join(_RUNS.value, f"{kind}-{seed}.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    settings = _COMMON | (_DRIVEN if kind == "driven" else {}) | {"seed": seed}
    config = replace(parsed(TrainConfig, "--preset=digits/fast"), **settings)
    data = build.dataset(config.data)
    images = training_images(config, data)
    steps_per_epoch = steps_in_epoch(config, images)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = classifier(config, data, images, steps_per_epoch)
    assert images.held_out is not None
    attack, test = PGD(config.ball, steps=10), data.arrays("test")
    alarm = OverfittingAlarm(
        as_floats(images.held_out[0]), images.held_out[1], model.objective.perturb, config.ball, every=_EVERY, seed=seed
    )
    looks = Looks(RobustAccuracy(as_floats(test[0][:_IMAGES]), test[1][:_IMAGES], attack))
    batches = stream(config, data, images, first_step=0)
    model.fit(batches, steps_per_epoch=_STEPS, verbose=0, callbacks=[alarm, looks])
    found = {"alignments": alarm.looks, "alarm": alarm.alarm_step, "robust": looks.found}
    write_json(path, found)
    return found


if __name__ == "__main__":
    app.run(main)
