"""What tuning a way of drawing tried: `tuning.json` beside the samples, and a part of their `samples.json`."""

import dataclasses
import math
import os

from jeat_tf.core.records import Record, record, stored, write_record

FILE = "tuning.json"


@record
class Trial:
    """One setting of the chain.

    Attributes:
      stage: the setting, in the words of `--stages`.
      distance: Frechet classifier distance of its images to the validation images; None where the chains diverged.
    """

    stage: str
    distance: float | None


@record
class Tuning(Record):
    """What was tried, on which images, and by whose features.

    Attributes:
      budget: settings that could be tried.
      images: drawn for each of them.
      seed: of starts and chains.
      start: where the chains began.
      split: the images that the distances are to; never those of the test split.
      real_images: how many they are.
      features: file of the classifier whose features were compared.
      features_sha256: digest of its weights.
      features_accuracy: share of real images that it classifies correctly.
      features_changes: what was done to it, one sentence each.
      weights_sha256: of the net that was drawn from.
      start_distance: distance of the start alone.
      trials: in the order in which they were tried.
    """

    MADE_BY = "python -m jeat_tf.sample --tune=..."

    budget: int
    images: int
    seed: int
    start: str
    split: str
    real_images: int
    features: str
    features_sha256: str
    weights_sha256: str
    start_distance: float
    trials: tuple[Trial, ...]
    features_accuracy: float | None = None
    features_changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.budget < 1 or len(self.trials) > self.budget:
            raise ValueError(
                f"expected a budget of at least 1 and no more trials than it allows, received a budget of "
                f"{self.budget} and {len(self.trials)} trials"
            )

    @property
    def best(self) -> Trial:
        """The trial of the smallest distance, the first of equal ones.

        Raises:
          ValueError: all of them diverged.
        """
        best = min(self.trials, key=lambda trial: math.inf if trial.distance is None else trial.distance, default=None)
        if best is None or best.distance is None:
            raise ValueError(f"expected a chain that stays finite, received none in {len(self.trials)} trials")
        return best

    def same(self, other: "Tuning") -> bool:
        """Whether the other has the same settings, whatever it found."""
        return dataclasses.replace(self, trials=(), start_distance=0.0, features="") == dataclasses.replace(
            other, trials=(), start_distance=0.0, features=""
        )

    def write(self, folder: str) -> None:
        """Writes tuning.json."""
        write_record(os.path.join(folder, FILE), self)


def read_tuning(folder: str) -> Tuning | None:
    """The tuning of the samples in a folder; None without.

    Raises:
      ValueError: a file that is no such record; it is named.
    """
    return stored(Tuning, os.path.join(folder, FILE))
