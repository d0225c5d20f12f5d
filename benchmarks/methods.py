"""What do the digits presets reach over seeds: accuracy, robustness, and images drawn from noise as a judge sees them?

    python benchmarks/methods.py --runs=runs/digits [--methods=jeat,pgd_at] [--seeds=0,1,2,3,4] [--write=docs/results.md]

Trains each preset of configs/digits for each seed and attacks it on the test split. Then it draws 500 images three
times: from uniform noise by the rule of the method's paper (`sample`'s default); from uniform noise by the chain that
`sample --tune` chooses, within one budget for all nets; and by the paper's rule from class Gaussians, which hold much
of the answer. A flow is drawn exactly. An independent standard net, benchmarks/judges/digits.keras, rates the images:
share classified as asked, Frechet distance between its features of them and of the training images (a classifier
distance, not FID), precision, recall, saturated pixels, near copies. Tuning looks at validation images through a
second net of that kind. Two rows stand beside the methods: the start alone, and real test images.

A finished part of a cell is not run again, so the same command resumes where it stopped. What is finished is kept in
benchmarks/digits_cells.json, and is not run again on another machine either. A cell that fails or diverges is reported
and does not stop the others. Writes <runs>/table.md, and with --write puts the tables between their marks in that file.
Small scale: 8x8 images, 1,260 training images.
"""

import os
import pathlib
from collections.abc import Callable

import keras
from absl import app, flags
from methods_table import ACCURACY, FLOWS, put, stored_cells, write

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train

HERE = pathlib.Path(__file__).parent
PRESETS = HERE.parent / "configs" / "digits"
JUDGE, JUDGE_OF_TUNING = (str(HERE / "judges" / f"{name}.keras") for name in ("digits", "digits_of_tuning"))
_RUNS = flags.DEFINE_string("runs", "runs/digits", "folder of the runs")
_METHODS = flags.DEFINE_list("methods", [], "presets; empty: all")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_NUM = flags.DEFINE_integer("num", 500, "images of a drawing")
_BUDGET = flags.DEFINE_integer("tune", 60, "settings that tuning tries for each net")
_CELLS = flags.DEFINE_string("cells", str(HERE / "digits_cells.json"), "file of what is finished, read and written")
_WRITE = flags.DEFINE_string("write", "", "file with the table's marks; empty: none")


def main(_: list[str]) -> None:
    methods = _METHODS.value or sorted(path.stem for path in PRESETS.glob("*.flags") if path.stem != "judge")
    failed = []
    for seed in _SEEDS.value:
        for method in methods:
            try:
                _run(method, int(seed))
            except (ValueError, ArithmeticError) as error:
                failed.append(f"{method}, seed {seed}: {error}")
            write(_RUNS.value, methods, _SEEDS.value, _CELLS.value)
    print(write(_RUNS.value, methods, _SEEDS.value, _CELLS.value))
    if _WRITE.value:
        put(_WRITE.value, pathlib.Path(_RUNS.value, "table.md").read_text(encoding="utf-8"))
    for line in failed:
        print(f"failed: {line}")


def _run(method: str, seed: int) -> None:
    """Does what is not done yet of one cell."""
    folder = os.path.join(_RUNS.value, f"{method}-{seed}")
    finished = stored_cells(_CELLS.value).get(f"{method}-{seed}")
    starts = (
        {"paper": ""} if method in FLOWS else {"paper": "uniform", "tuned": "uniform", "gaussians": "class_gaussian"}
    )
    missing = {"accuracy", *starts} - set(finished.protocol if finished else ())
    if not missing:
        return
    _once(folder, "train.json", lambda: train(replace(_preset(method, folder), seed=seed)))
    if "accuracy" in missing:
        attacks = replace(EvaluateConfig(), model=folder, attacks=",".join(ACCURACY))
        _once(folder, "evaluation/results.json", lambda: evaluate(attacks))
    drawn = replace(SampleConfig(), model=folder, num=_NUM.value, judge=JUDGE, seed=seed, readings=4)
    for rule in [rule for rule in starts if rule in missing]:
        chosen = replace(drawn, start=starts[rule], output_dir=os.path.join(folder, rule))
        if rule == "tuned":
            chosen = replace(chosen, tune=_BUDGET.value, tune_features=JUDGE_OF_TUNING)
        _once(folder, f"{rule}/samples.json", lambda chosen=chosen: sample(chosen))


def _preset(name: str, folder: str) -> TrainConfig:
    return replace(parsed(TrainConfig, f"--flagfile={PRESETS / name}.flags"), model_dir=folder)


def _once(folder: str, output: str, work: Callable[[], object]) -> None:
    if not os.path.exists(os.path.join(folder, output)):
        print(f"{folder}: {output}", flush=True)
        keras.backend.clear_session()
        work()


if __name__ == "__main__":
    app.run(main)
