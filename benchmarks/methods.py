"""What do the presets of a data set reach over seeds: accuracy, robustness, and images drawn from noise, by a judge?

    python benchmarks/methods.py --scale=digits [--methods=jeat,pgd_at] [--seeds=0,1,2,3,4] [--write=docs/results.md]
    python benchmarks/methods.py --scale=mnist --rules=paper,gaussians --data_dir=DATA
    python benchmarks/methods.py --methods="jeat,jeat:chain_steps=10;chain_noise_std=0.02" --rules=paper --cells=FILE

Trains each preset of configs/<scale> for each seed and attacks it on the test split. Then it draws 500 images three
times: from uniform noise by the rule of the method's paper (`sample`'s default); from uniform noise by the chain that
`sample --tune` chooses, within one budget for all nets; and by the paper's rule from class Gaussians, which hold much
of the answer. A flow is drawn exactly. An independent net, benchmarks/judges/<scale>.keras, rates the images: share
classified as asked, Frechet distance between its features of them and of the training images (a classifier distance,
not FID), precision, recall, saturated pixels, near copies. Tuning looks at validation images through a second net of
that kind. Two rows stand beside the methods: the start alone, and real test images. A method is a preset, or a preset
with settings of its own after a colon.

A finished part of a cell is not run again, so the same command resumes where it stopped. What is finished is kept in
benchmarks/<scale>_cells.json, and is not run again on another machine either. A cell that fails or diverges is reported
and does not stop the others. Writes <runs>/table.md. With --write it puts the tables between their marks in that file,
and what was measured into the comments of the presets.
Small scale: 8x8 images, 1,260 training images; or MNIST on a processor.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
from absl import app, flags
from methods_table import FLOWS, RULES, put_headers, stored_cells, write
from rows import put

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train

HERE = pathlib.Path(__file__).parent
PRESETS = HERE.parent / "configs"


class Scale(NamedTuple):
    """How the nets of one data set are made and measured.

    Attributes:
      training: settings of every run beside its preset.
      evaluation: settings of the attacks.
      tune: settings that tuning tries for each net.
      warm: presets that begin at the net of `fast` with the same seed, as `--init_from` does.
    """

    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    tune: int
    warm: tuple[str, ...] = ()


SCALES = {
    "digits": Scale({}, {"attacks": "clean,pgd20,autoattack"}, tune=60),
    "mnist": Scale(
        {"precision": "mixed_bfloat16"},
        {"attacks": "clean,pgd20,autoattack-fast", "num_images": 1000},
        tune=20,
        warm=("dat", "jeat", "jem", "robust_jem"),
    ),
}
_SCALE = flags.DEFINE_enum("scale", "digits", list(SCALES), "data set, and folder of presets")
_RUNS = flags.DEFINE_string("runs", "", "folder of the runs; empty: runs/<scale>")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "where TFDS keeps the data; empty: its usual folder")
_METHODS = flags.DEFINE_list("methods", [], "presets, or preset:setting=value;setting=value; empty: all presets")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_RULES = flags.DEFINE_list("rules", list(RULES), "ways to draw")
_NUM = flags.DEFINE_integer("num", 500, "images of a drawing")
_CELLS = flags.DEFINE_string("cells", "", "file of what is finished; empty: benchmarks/<scale>_cells.json")
_WRITE = flags.DEFINE_string("write", "", "file with the table's marks; empty: none")


def main(_: list[str]) -> None:
    scale = _SCALE.value
    runs = _RUNS.value or f"runs/{scale}"
    cells = _CELLS.value or str(HERE / f"{scale}_cells.json")
    methods = _METHODS.value or sorted(path.stem for path in (PRESETS / scale).glob("*.flags") if path.stem != "judge")
    failed = []
    for seed in _SEEDS.value:
        for method in methods:
            try:
                _run(method, int(seed), runs, cells)
            except (ValueError, ArithmeticError) as error:
                failed.append(f"{method}, seed {seed}: {error}")
            write(runs, methods, _SEEDS.value, cells)
    print(write(runs, methods, _SEEDS.value, cells))
    if _WRITE.value:
        put(_WRITE.value, pathlib.Path(runs, "table.md").read_text(encoding="utf-8"), scale)
        kept = stored_cells(cells)
        put_headers(
            PRESETS / scale,
            {name: [kept[f"{name}-{s}"] for s in _SEEDS.value if f"{name}-{s}" in kept] for name in methods},
        )
    for line in failed:
        print(f"failed: {line}")


def _run(method: str, seed: int, runs: str, cells: str) -> None:
    """Does what is not done yet of one cell."""
    scale = SCALES[_SCALE.value]
    finished = stored_cells(cells).get(f"{method}-{seed}")
    starts = (
        {"paper": ""} if method in FLOWS else {"paper": "uniform", "tuned": "uniform", "gaussians": "class_gaussian"}
    )
    missing = {"accuracy", *starts}.intersection(["accuracy", *_RULES.value]) - set(
        finished.protocol if finished else ()
    )
    if not missing:
        return
    folder = _trained(method, seed, runs)
    if "accuracy" in missing:
        attacks = replace(EvaluateConfig(), model=folder, data_dir=_DATA_DIR.value, **scale.evaluation)
        _once(folder, "evaluation/results.json", lambda: evaluate(attacks))
    judge, judge_of_tuning = (str(HERE / "judges" / f"{_SCALE.value}{name}.keras") for name in ("", "_of_tuning"))
    drawn = replace(
        SampleConfig(), model=folder, num=_NUM.value, judge=judge, seed=seed, readings=4, data_dir=_DATA_DIR.value
    )
    for rule in [rule for rule in starts if rule in missing]:
        chosen = replace(drawn, start=starts[rule], output_dir=os.path.join(folder, rule))
        if rule == "tuned":
            chosen = replace(chosen, tune=scale.tune, tune_features=judge_of_tuning)
        _once(folder, f"{rule}/samples.json", lambda chosen=chosen: sample(chosen))


def _trained(method: str, seed: int, runs: str) -> str:
    """The folder of a trained run, which is trained if it is not there."""
    folder, scale = os.path.join(runs, f"{method}-{seed}"), SCALES[_SCALE.value]
    preset, _, own = method.partition(":")
    settings = {"model_dir": folder, "seed": seed, "data_dir": _DATA_DIR.value, **scale.training}
    if preset in scale.warm:
        settings["init_from"] = _trained("fast", seed, runs)
    given = [f"--flagfile={PRESETS / _SCALE.value / preset}.flags", *(f"--{part}" for part in own.split(";") if part)]
    _once(folder, "train.json", lambda: train(replace(parsed(TrainConfig, *given), **settings)))
    return folder


def _once(folder: str, output: str, work: Callable[[], object]) -> None:
    if not os.path.exists(os.path.join(folder, output)):
        print(f"{folder}: {output}", flush=True)
        keras.backend.clear_session()
        work()


if __name__ == "__main__":
    app.run(main)
