"""What do the digits presets reach over seeds: accuracy, robustness, and samples as a judge sees them?

    python benchmarks/digits.py --runs=runs/digits [--methods=jeat,pgd_at] [--seeds=0,1,2]

Trains each preset of configs/digits for each seed, evaluates it on the test split, and draws 1,000 fresh chains
twice: 50 steps from class Gaussians, and 200 steps from uniform noise. An independently trained standard net
(configs/digits/judge.flags) grades them: share classified as asked, and Frechet distance between its features of
the samples and of the training images (a classifier distance, not FID). `start_*` grades the class Gaussians
before the chain. Finished runs are not repeated. Writes <runs>/table.json and prints a Markdown table of mean and
standard deviation. Small scale: 8x8 images, 1,260 training images, a 98,000-weight net.
"""

import json
import os
import subprocess
import sys

import numpy as np
from absl import app, flags

_RUNS = flags.DEFINE_string("runs", "runs/digits", "folder of the runs")
_METHODS = flags.DEFINE_list(
    "methods", ["standard", "noise", "pgd_at", "pre_jeat", "jem", "jeat", "robust_jem"], "presets"
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds")
_ACCURACY = ("clean", "fgsm", "pgd20", "pgd50", "energy")
_SAMPLES = ("start_agreement", "start_frechet", "agreement", "frechet", "noise_agreement", "noise_frechet")
_COLUMNS = (*_ACCURACY, *_SAMPLES, "train_seconds")


def main(_: list[str]) -> None:
    judge = os.path.join(_RUNS.value, "judge")
    _train("judge", judge, [])
    _verb("evaluate", judge, "evaluation/results.json", ["--attacks=clean"])
    table = {m: [_cell(m, seed, judge) for seed in _SEEDS.value] for m in _METHODS.value}
    table["judge"] = [{"clean": _accuracies(judge)["clean"]}]
    with open(os.path.join(_RUNS.value, "table.json"), "w", encoding="utf-8") as f:
        json.dump(table, f, indent=2)
    print(f"| method | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 1)}")
    for method, cells in table.items():
        shown = []
        for column in _COLUMNS:
            values = [cell[column] for cell in cells if column in cell]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            shown.append(f"{np.mean(values):.3f}{spread}" if values else "-")
        print(f"| {method} | {' | '.join(shown)} |")


def _cell(method: str, seed: str, judge: str) -> dict[str, float]:
    folder = os.path.join(_RUNS.value, f"{method}-{seed}")
    _train(method, folder, [f"--seed={seed}"])
    _verb("evaluate", folder, "evaluation/results.json", [])
    graded = [f"--judge={judge}", f"--seed={seed}"]
    _verb("sample", folder, "samples/samples.json", graded)
    noise = os.path.join(folder, "from_noise")
    graded += ["--chain_start=uniform", "--chain_steps=200", f"--output_dir={noise}"]
    _verb("sample", folder, "from_noise/samples.json", graded)
    near, far = (_read(folder, f"{name}/samples.json")["judge"] for name in ("samples", "from_noise"))
    return _accuracies(folder) | {
        "start_agreement": near["start_alone"]["agreement"],
        "start_frechet": near["start_alone"]["frechet_classifier_distance"],
        "agreement": near["agreement"],
        "frechet": near["frechet_classifier_distance"],
        "noise_agreement": far["agreement"],
        "noise_frechet": far["frechet_classifier_distance"],
        "train_seconds": _read(folder, "train.json")["seconds"],
    }


def _accuracies(folder: str) -> dict[str, float]:
    return {row["attack"]: row["accuracy"] for row in _read(folder, "evaluation/results.json")["results"]}


def _train(preset: str, folder: str, extra: list[str]) -> None:
    if not os.path.exists(os.path.join(folder, "train.json")):
        _run("train", [f"--flagfile=configs/digits/{preset}.flags", f"--model_dir={folder}", *extra])


def _verb(verb: str, folder: str, output: str, extra: list[str]) -> None:
    if not os.path.exists(os.path.join(folder, output)):
        _run(verb, [f"--model={folder}", *extra])


def _run(verb: str, arguments: list[str]) -> None:
    print(f"$ python -m jeat_tf.{verb} {' '.join(arguments)}", flush=True)
    subprocess.run([sys.executable, "-m", f"jeat_tf.{verb}", *arguments], check=True)


def _read(folder: str, name: str) -> dict:
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


if __name__ == "__main__":
    app.run(main)
