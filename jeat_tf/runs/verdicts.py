"""Saves which images are still unbroken, so that a long attack can resume."""

import json
import os
import time
from typing import Any, NamedTuple

import numpy as np

from jeat_tf.attacks.ensemble import Standing
from jeat_tf.core.files import changes, read_arrays, write_arrays
from jeat_tf.core.records import plain, typed

_SAVE_EVERY = 5.0  # seconds


class _Place(NamedTuple):
    """Progress of an attack: the current run, the number of its batches that are done, the seconds of all processes."""

    run: int
    position: int
    seconds: float


class StoredStanding:
    """A `Standing` that is read from a file, if there is one, and written to it now and then.

    Attributes:
      standing: to be changed by `run_in_order`.
    """

    def __init__(self, path: str, standing: Standing, identity: dict[str, Any]):
        """
        Args:
          path: the .npz file.
          standing: where a fresh evaluation begins; overwritten by what the file holds.
          identity: what has to be equal for the file to belong to this evaluation.

        Raises:
          ValueError: an unreadable file, or one of another evaluation.
        """
        self.standing = standing
        self._path = path
        self._identity = identity
        self._seconds = 0.0
        self._saved = time.monotonic()
        if os.path.exists(path):
            self._read()

    def save(self, seconds: float) -> None:
        """Writes the file if it was not written in the last few seconds.

        Args:
          seconds: that this process spent on the attack.
        """
        if time.monotonic() - self._saved >= _SAVE_EVERY:
            self._write(seconds)

    def finish(self, seconds: float) -> float:
        """Writes the file, and returns the seconds that all processes spent."""
        self._write(seconds)
        return self._seconds + seconds

    def _write(self, seconds: float) -> None:
        place = _Place(self.standing.run, self.standing.position, self._seconds + seconds)
        arrays = {name: getattr(self.standing, name) for name in Standing.ARRAYS}
        write_arrays(
            self._path,
            identity=np.array(json.dumps(self._identity, sort_keys=True)),
            place=np.array(json.dumps(plain(place))),
            **{name: array for name, array in arrays.items() if array is not None},
        )
        self._saved = time.monotonic()

    def _read(self) -> None:
        remedy = "delete it, give --noresume, or another --output_dir"
        try:
            file = read_arrays(self._path)
            identity, place = json.loads(str(file["identity"])), typed(_Place, json.loads(str(file["place"])))
            arrays = {name: file[name] for name in Standing.ARRAYS if name in file}
            if not isinstance(identity, dict):
                raise ValueError("its identity is no JSON object")
            self.standing.run, self.standing.position, self._seconds = place
        except Exception as error:
            raise ValueError(
                f"cannot read the state {self._path} of an interrupted evaluation: {error}; {remedy}"
            ) from error
        if changed := changes(identity, json.loads(json.dumps(self._identity))):
            raise ValueError(f"{self._path} is the state of another evaluation ({changed}); {remedy}")
        for name in Standing.ARRAYS:
            wanted = getattr(self.standing, name)
            if wanted is None:
                continue
            if name not in arrays or arrays[name].shape != wanted.shape or arrays[name].dtype != wanted.dtype:
                raise ValueError(f"{self._path} has no usable {name}; {remedy}")
            setattr(self.standing, name, arrays[name])
