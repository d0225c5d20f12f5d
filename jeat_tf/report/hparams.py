"""What a run has reached, in TensorBoard's HParams table beside its settings."""

import os
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten
from jeat_tf.core.records import stored
from jeat_tf.runs.generation_results import GenerationResults
from jeat_tf.runs.results import ATTACKS, AttackResults, CalibrationResults, OodResults

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
    attacks = stored(AttackResults, os.path.join(folder, ATTACKS))
    for row in attacks.results if attacks else ():
        radius = f"_{row.epsilon_text.replace('/', '_')}" if row.in_ball and row.epsilon_text else ""
        found[f"accuracy/{row.attack.replace(' ', '_')}{radius}"] = row.accuracy
    calibration = stored(CalibrationResults, os.path.join(folder, "calibration.json"))
    found |= {f"calibration/{key}": getattr(calibration, key) for key in ("nll", "brier", "ece") if calibration}
    other_images = stored(OodResults, os.path.join(folder, "ood.json"))
    for other, scores in other_images.detection.items() if other_images else ():
        found |= {f"ood/{os.path.basename(other)}_{score}_auroc": value.auroc for score, value in scores.items()}
    generation = stored(GenerationResults, os.path.join(folder, "generation.json"))
    for samples, of_set in generation.sets.items() if generation else ():
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
