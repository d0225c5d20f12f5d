"""What do the digits presets reach over seeds: accuracy, robustness, and samples as a judge sees them?

    python benchmarks/digits.py --runs=runs/digits [--methods=jeat,pgd_at] [--seeds=0,1,2,3,4]

Trains each preset of configs/digits for each seed, evaluates it on the test split, and draws 500 fresh chains
twice: 50 steps from class Gaussians, and 100 steps from uniform noise (a flow is sampled exactly instead). An
independently trained standard net (configs/digits/judge.flags) grades them: share classified as asked, and Frechet
distance between its features of the samples and of the training images (a classifier distance, not FID). `start_*`
grades the class Gaussians before the chain. All in one process; finished cells are not repeated, and a cell that
fails or diverges is reported and does not stop the others. Writes <runs>/table.json, with every cell that is
finished, and prints a Markdown table of mean and standard deviation. Small scale: 8x8 images, 1,260 training images, a
98,000-weight net.
"""

import json
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
from absl import app, flags

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train

_PRESETS = pathlib.Path(__file__).parents[1] / "configs" / "digits"
_RUNS = flags.DEFINE_string("runs", "runs/digits", "folder of the runs")
_METHODS = flags.DEFINE_list("methods", [], "presets; empty: all")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_AUDIT = flags.DEFINE_integer("audit_images", 0, "images for evaluate's audit")
_ACCURACY = ("clean", "fgsm", "pgd20", "energy")
_SAMPLES = ("start_agreement", "start_frechet", "agreement", "frechet", "noise_agreement", "noise_frechet")
_COST = ("recoveries", "train_seconds", "forward", "backward")
_COLUMNS = (*_ACCURACY, *_SAMPLES, *_COST)


def main(_: list[str]) -> None:
    methods = _METHODS.value or sorted(path.stem for path in _PRESETS.glob("*.flags") if path.stem != "judge")
    judge = os.path.join(_RUNS.value, "judge")
    _once(judge, "train.json", lambda: train(_preset("judge", judge)))
    failed = []
    for seed in _SEEDS.value:
        for method in methods:
            try:
                _cell(method, seed, judge)
            except (ValueError, ArithmeticError) as error:
                failed.append(f"{method}, seed {seed}: {error}")
    table = {m: [_numbers(m, seed) for seed in _SEEDS.value if _finished(m, seed)] for m in methods}
    with open(os.path.join(_RUNS.value, "table.json"), "w", encoding="utf-8") as f:
        json.dump(table, f, indent=2)
    print(f"| method | seeds | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 2)}")
    for method, cells in table.items():
        shown = []
        for column in _COLUMNS:
            values = [cell[column] for cell in cells if column in cell]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            shown.append(f"{np.mean(values):.3f}{spread}" if values else "-")
        print(f"| {method} | {len(cells)} | {' | '.join(shown)} |")
    for line in failed:
        print(f"failed: {line}")


def _cell(method: str, seed: str, judge: str) -> None:
    folder = _folder(method, seed)
    _once(folder, "train.json", lambda: train(replace(_preset(method, folder), seed=int(seed))))
    attacks = replace(EvaluateConfig(), model=folder, attacks=",".join(_ACCURACY), audit_images=_AUDIT.value)
    _once(folder, "evaluation/results.json", lambda: evaluate(attacks))
    graded = replace(SampleConfig(), model=folder, num=500, judge=judge, seed=int(seed))
    if method == "flow":
        exact = replace(graded, start="flow", stages="none")
        _once(folder, "samples/samples.json", lambda: sample(exact))
        return
    _once(folder, "samples/samples.json", lambda: sample(graded))
    far = replace(graded, start="uniform", stages="sgld:steps=100", output_dir=os.path.join(folder, "from_noise"))
    _once(folder, "from_noise/samples.json", lambda: sample(far))


def _numbers(method: str, seed: str) -> dict[str, float]:
    folder = _folder(method, seed)
    run = _read(folder, "train.json")
    near = _read(folder, "samples/samples.json")["judge"]
    numbers = {row["attack"]: row["accuracy"] for row in _read(folder, "evaluation/results.json")["results"]}
    numbers |= {
        "agreement": near["agreement"],
        "frechet": near["frechet_classifier_distance"],
        "recoveries": len(run["guard"]["events"]),
        "train_seconds": run["seconds"],
        "forward": run["passes_per_step"]["forward"],
        "backward": run["passes_per_step"]["input_backward"] + run["passes_per_step"]["weight_backward"],
    }
    if method != "flow":
        far = _read(folder, "from_noise/samples.json")["judge"]
        numbers |= {
            "start_agreement": near["start_alone"]["agreement"],
            "start_frechet": near["start_alone"]["frechet_classifier_distance"],
            "noise_agreement": far["agreement"],
            "noise_frechet": far["frechet_classifier_distance"],
        }
    return numbers


def _preset(name: str, folder: str) -> TrainConfig:
    return replace(parsed(TrainConfig, f"--flagfile={_PRESETS / name}.flags"), model_dir=folder)


def _once(folder: str, output: str, work: Callable[[], object]) -> None:
    if not os.path.exists(os.path.join(folder, output)):
        print(f"{folder}: {output}", flush=True)
        keras.backend.clear_session()
        work()


def _finished(method: str, seed: str) -> bool:
    last = "samples" if method == "flow" else "from_noise"
    return os.path.exists(os.path.join(_folder(method, seed), last, "samples.json"))


def _folder(method: str, seed: str) -> str:
    return os.path.join(_RUNS.value, f"{method}-{seed}")


def _read(folder: str, name: str) -> dict:
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


if __name__ == "__main__":
    app.run(main)
