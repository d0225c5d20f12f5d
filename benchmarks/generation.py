"""Which nets and which ways of drawing give the best digits, as an independent classifier measures them, over seeds?

    python benchmarks/generation.py --runs=runs/digits [--seeds=0,1,2,3,4] [--num=500]

For finished runs of benchmarks/digits.py: draws images by recipes of `jeat_tf.sample`, measures each set with the
judge's features (`evaluate --generation`), and prints a Markdown table of mean and standard deviation over seeds.
Fresh chains, classes balanced, none selected; beside them the replay buffers. Finished cells are not repeated. Small
scale: 8x8 images.
"""

import json
import os

import keras
import numpy as np
from absl import app, flags

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.density import measure
from jeat_tf.sample.run import sample

_RUNS = flags.DEFINE_string("runs", "runs/digits", "folder of the runs")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "seeds")
_NUM = flags.DEFINE_integer("num", 500, "images of a set")
_DRAWN = {
    "pgd_at": ("chain", "pca_momentum", "robust_classifier"),
    "pre_jeat": ("chain", "pca_momentum"),
    "jem": ("chain", "pca_momentum"),
    "jeat": ("chain", "pca_momentum"),
    "robust_jem": ("chain", "robust_jem_energy", "robust_jem"),
}
_COLUMNS = (
    "agreement",
    "classifier_score",
    "frechet_classifier_distance",
    "kernel_classifier_distance",
    "precision",
    "recall",
    "density",
    "coverage",
    "ssim_within_class",
    "feature_distance_within_class",
)


def main(_: list[str]) -> None:
    rows: dict[str, list[dict[str, float]]] = {}
    for method, recipes in _DRAWN.items():
        for seed in _SEEDS.value:
            run = os.path.join(_RUNS.value, f"{method}-{seed}")
            for recipe in recipes:
                found = _cell(run, recipe, int(seed))
                rows.setdefault(f"{method}, {recipe}", []).append(_numbers(found["fresh_chains"]))
                if "replay_buffer" in found and recipe == recipes[0]:
                    rows.setdefault(f"{method}, replay buffer", []).append(_numbers(found["replay_buffer"]))
    with open(os.path.join(_RUNS.value, "generation.json"), "w", encoding="utf-8") as f:
        json.dump(rows, f, indent=2)
    print(f"| drawn from | seeds | {' | '.join(_COLUMNS)} |\n|{'---|' * (len(_COLUMNS) + 2)}")
    for name, cells in rows.items():
        shown = []
        for column in _COLUMNS:
            values = [cell[column] for cell in cells if column in cell]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            shown.append(f"{np.mean(values):.3f}{spread}" if values else "-")
        print(f"| {name} | {len(cells)} | {' | '.join(shown)} |")


def _cell(run: str, recipe: str, seed: int) -> dict:
    folder = os.path.join(run, f"drawn_{recipe}")
    report = os.path.join(folder, "generation.json")
    if not os.path.exists(report):
        print(folder, flush=True)
        keras.backend.clear_session()
        drawn = {"num": _NUM.value, "recipe": recipe, "seed": seed, "readings": 5, "output_dir": folder}
        sample(replace(SampleConfig(), model=run, **drawn))
        judge = os.path.join(_RUNS.value, "judge", "net.keras")
        measured = {"generation": folder, "features": judge, "neighbours": 0, "output_dir": folder}
        measure(replace(EvaluateConfig(), model=run, seed=seed, **measured))
    with open(report, encoding="utf-8") as f:
        return json.load(f)


def _numbers(found: dict) -> dict[str, float]:
    means = {
        key: value["mean"] if isinstance(value, dict) and "mean" in value else value for key, value in found.items()
    }
    return {key: float(means[key]) for key in _COLUMNS if key in means}


if __name__ == "__main__":
    app.run(main)
