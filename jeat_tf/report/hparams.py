"""What a run has reached, in TensorBoard's HParams table beside its settings."""

import os
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import read_json
from jeat_tf.core.flat import flatten

_SHOWN = (
    "method",
    "seed",
    "net",
    "epsilon",
    "attack_steps",
    "chain_steps",
    "learning_rate",
    "batch_size",
    "epochs",
)


def results(folder: str) -> dict[str, float]:
    """The main numbers that `jeat_tf.evaluate` wrote to a folder, by name; empty where it wrote none."""
    found: dict[str, float] = {}
    for row in _read(folder, "results").get("results", []):
        radius = f"_{row['epsilon_text'].replace('/', '_')}" if row.get("in_ball") else ""
        found[f"accuracy/{row['attack'].replace(' ', '_')}{radius}"] = row["accuracy"]
    calibration = _read(folder, "calibration")
    found |= {f"calibration/{key}": calibration[key] for key in ("nll", "brier", "ece") if key in calibration}
    for other, scores in _read(folder, "ood").get("detection", {}).items():
        found |= {f"ood/{os.path.basename(other)}_{score}_auroc": value["auroc"] for score, value in scores.items()}
    for samples, scores in _read(folder, "generation").items():
        if isinstance(scores, dict) and "protocol" in scores:
            for key, value in scores.items():
                number = value.get("mean") if isinstance(value, dict) else value
                if isinstance(number, float):
                    found[f"{samples}/{key}"] = number
    return found


def write_results(log_dir: str, config: TrainConfig, numbers: dict[str, float]) -> None:
    """Writes the settings that tell runs apart, and the numbers as scalars of step 0: one row of the table.

    Args:
      log_dir: TensorBoard folder of the run.
      config: of the run.
      numbers: what `results` returns.
    """
    settings: dict[str, Any] = {name: value for name, value in flatten(config).items() if name in _SHOWN}
    with tf.summary.create_file_writer(log_dir).as_default(step=0):
        hparams.hparams(settings)
        for name, value in numbers.items():
            tf.summary.scalar(name, value)


def _read(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, f"{name}.json")
    if not os.path.isfile(path):
        return {}
    return read_json(path, dict)
