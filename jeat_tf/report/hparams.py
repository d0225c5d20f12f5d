"""What a run has reached, in TensorBoard's HParams table beside its settings."""

import os
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten
from jeat_tf.report.collect import Run
from jeat_tf.runs.generation_results import GenerationResults
from jeat_tf.runs.results import AttackResults, CalibrationResults, OodResults

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


def results(run: Run) -> dict[str, float]:
    """The main numbers that `jeat_tf.evaluate` found of a run's own weights, by name; empty where it found none."""
    found: dict[str, float] = {}
    for report in (report for file, report in run.reports.items() if file.startswith("evaluation/")):
        if isinstance(report, AttackResults):
            for row in report.results:
                norm = f"_{row.norm}" if row.norm and "," in report.norm else ""
                radius = f"_{row.epsilon_text.replace('/', '_')}" if row.in_ball and row.epsilon_text else ""
                found[f"accuracy/{row.attack.replace(' ', '_')}{norm}{radius}"] = row.accuracy
        elif isinstance(report, CalibrationResults):
            found |= {f"calibration/{key}": getattr(report, key) for key in ("nll", "brier", "ece")}
        elif isinstance(report, OodResults):
            for other, scores in report.detection.items():
                name = os.path.basename(other)
                found |= {f"ood/{name}_{score}_auroc": value.auroc for score, value in scores.items()}
        elif isinstance(report, GenerationResults):
            for samples, of_set in report.sets.items():
                found |= {f"{samples}/{key}": number for key, number in of_set.numbers().items()}
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
