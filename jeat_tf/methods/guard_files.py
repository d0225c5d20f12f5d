"""What a guard keeps on disk: its events, and a file for each state that it resumes from."""

import os
import re
from collections.abc import Collection, Iterable
from typing import Literal

from jeat_tf.core.files import begin_anew
from jeat_tf.core.records import Record, read_record, record, write_record


@record
class GuardEvent:
    """A recovery, or the stop of a run.

    Attributes:
      step: training step of the alarm.
      action: whether the run was taken back or stopped.
      reason: description of the alarm.
      value: number that set it off; None: not finite.
      limit: bound that the number passed; None where there is none.
      restored_step: step whose weights the net has from then on; None: the weights are unchanged.
      learning_rate, chain_rounds, energy_l2: from then on; None where the guard recovers nothing.
    """

    step: int
    action: Literal["recover", "stop"]
    reason: str
    value: float | None
    limit: float | None
    restored_step: int | None
    learning_rate: float | None = None
    chain_rounds: int | None = None
    energy_l2: float | None = None

    @property
    def is_stop(self) -> bool:
        """Whether the guard stopped the run, and did not take it back."""
        return self.action == "stop"


@record
class GuardEvents(Record):
    """What the guard did in a run, in order: `guard.json`."""

    MADE_BY = "python -m jeat_tf.train"

    events: tuple[GuardEvent, ...]


def write_events(path: str, events: Iterable[GuardEvent]) -> None:
    """Writes the file of events."""
    write_record(path, GuardEvents(events=tuple(events)))


def read_events(path: str) -> list[GuardEvent]:
    """The events in a file; none where there is no file, or a damaged one, which is set aside with a warning."""
    if not os.path.lexists(path):
        return []
    try:
        return list(read_record(GuardEvents, path).events)
    except ValueError as error:
        begin_anew(path, "the guard's earlier events", error)
        return []


def state_file(path: str, step: int) -> str:
    """Where the windows and good states of a step are, beside the file of events."""
    return f"{os.path.splitext(path)[0]}-{step}.npz"


def remove_states(path: str, but: Collection[int]) -> None:
    """Removes the state files of all steps that are not in `but`."""
    folder, stem = os.path.split(os.path.splitext(path)[0])
    for name in os.listdir(folder or os.curdir):
        match = re.fullmatch(rf"{re.escape(stem)}-(\d+)\.npz", name)
        if match and int(match[1]) not in but:
            os.remove(os.path.join(folder, name))
