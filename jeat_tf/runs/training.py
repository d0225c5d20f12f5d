"""What training leaves on disk: `train.json`, and what a step costs."""

import os

from jeat_tf.core.files import read_json
from jeat_tf.core.provenance import Provenance
from jeat_tf.core.records import Record, record, stored, typed, write_record
from jeat_tf.methods.accounting import Passes
from jeat_tf.methods.guard_files import GuardEvent
from jeat_tf.runs.second_nets import SecondNet

FILE = "train.json"


@record
class Cost:
    """What a step costs, and what is held in memory.

    Attributes:
      parameters: of the net.
      passes_per_step: passes through the net, for each image of a batch.
      forward_flops_per_image: FLOPs of one forward pass.
      flops_per_step: FLOPs of one step.
      activation_bytes: estimate of what a training pass holds.
      buffer_bytes: of the replay buffer.
    """

    parameters: int
    passes_per_step: Passes
    forward_flops_per_image: float
    flops_per_step: float
    activation_bytes: int
    buffer_bytes: int


@record
class Plan(Cost):
    """What a run would cost.

    Attributes:
      seconds_per_step: measured or estimated.
      basis: how they are known.
      steps: of the run.
      hours: hours of the run, including those of a teacher.
      teacher_hours: hours of a net that is trained first to label images; None without.
    """

    seconds_per_step: float
    basis: str
    steps: int
    hours: float
    teacher_hours: float | None = None


@record
class Watch:
    """What the guard was told to do, and did."""

    mode: str
    events: tuple[GuardEvent, ...]


@record
class Training(Record, Cost):
    """The result of a finished run.

    Attributes:
      method: its word.
      seed: of the run.
      steps: changes of the weights, or batches served.
      logs: the last epoch's.
      weights_sha256: digest of the weights in `net.keras`.
      dataset: name of the data.
      data_sha256: digest of the training images whose labels are used, and of these labels.
      class_names: of the data; empty where only the labels are known.
      guard: what it did.
      teacher: net that labelled images; None without.
      seconds: of all calls; None where a call found nothing left to do.
      seconds_per_step: with validation and files.
    """

    MADE_BY = "python -m jeat_tf.train"

    method: str
    seed: int
    steps: int
    logs: dict[str, float]
    weights_sha256: str
    dataset: str
    guard: Watch
    date: str
    provenance: Provenance
    seconds: float | None = None
    seconds_per_step: float | None = None
    data_sha256: str = ""
    class_names: tuple[str, ...] = ()
    teacher: SecondNet | None = None

    def write(self, folder: str) -> None:
        """Writes train.json."""
        write_record(os.path.join(folder, FILE), self)


def read_training(folder: str) -> Training | None:
    """The result of a run; None for one that did not finish.

    Raises:
      ValueError: a file that is no such record; it is named.
    """
    return stored(Training, os.path.join(folder, FILE))


def read_history(folder: str) -> list[dict[str, float]]:
    """The logs of each epoch of a run; none where there is no `history.json`.

    Raises:
      ValueError: a file that holds something else; it is named.
    """
    path = os.path.join(folder, "history.json")
    if not os.path.exists(path):
        return []
    found = read_json(path, list)
    try:
        return typed(list[dict[str, float]], found, "the history")
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}; remove it or make it again") from error
