"""What a guard keeps on disk: its events, and a file for each state that it goes on from."""

import os
import re
from collections.abc import Collection
from typing import Any

from jeat_tf.core.files import begin_anew, read_json


def read_events(path: str) -> list[dict[str, Any]]:
    """The events in a file; none where there is no file, or a damaged one, which is set aside with a warning."""
    if not os.path.lexists(path):
        return []
    try:
        found = read_json(path, list)
        if not all(isinstance(event, dict) and isinstance(event.get("step"), int) for event in found):
            raise ValueError("expected a list of events, each with its step")
        return found
    except ValueError as error:
        begin_anew(path, "the guard's earlier events", error)
        return []


def state_file(path: str, step: int) -> str:
    """Where the windows and good states of a step are, beside the file of events."""
    return f"{os.path.splitext(path)[0]}-{step}.npz"


def remove_states(path: str, but: Collection[int]) -> None:
    """Removes the files of other steps than those."""
    folder, stem = os.path.split(os.path.splitext(path)[0])
    for name in os.listdir(folder or os.curdir):
        match = re.fullmatch(rf"{re.escape(stem)}-(\d+)\.npz", name)
        if match and int(match[1]) not in but:
            os.remove(os.path.join(folder, name))
