"""Detects diverging energies during training, and returns to a good state."""

import dataclasses
import json
import math
import os
import statistics
from collections import deque
from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from jeat_tf.core.files import begin_anew, read_arrays, whole_file
from jeat_tf.core.records import plain, typed
from jeat_tf.methods import guard_files
from jeat_tf.methods.guard_files import GuardEvent
from jeat_tf.methods.guard_limits import DROP_ERRORS, DROP_MEAN, DROP_WITHIN, drop, lowest, relative
from jeat_tf.methods.logs import ADVERSARIAL
from jeat_tf.methods.monitoring import Board
from jeat_tf.methods.overfitting import DROP


class DivergenceError(ArithmeticError):
    """Training left the range of finite, usable energies."""


class Guard(keras.callbacks.Callback):
    """Returns to a good state, and continues more carefully, when training of an `EnergyClassifier` diverges.

    Joint training of energies diverges without a warning in the loss: the gap E(x_pos) - E(x_neg) runs away first, or
    the chains, which end at the borders of the range. On an alarm the net, the optimizer's moments, the replay buffer,
    the curriculum and the update's state become what they were. Time does not: the steps, the schedule, the stream of
    images and the seeds continue. The learning rate is halved, chains run twice as long, and the weight of squared
    energies grows by `energy_l2`. After the last recovery, or with `recoveries=0` at once, an alarm raises
    `DivergenceError`.

    A state is good once `every` steps have passed after it without an alarm; two are held in host memory, each as large
    as the checkpoint (copying the 123 MB of a buffer of 10,000 CIFAR images takes 0.2 s of a CPU at 2.5 GHz). Put the
    guard before callbacks that write checkpoints. A callback that sets the learning rate by itself undoes the guard's.

    A run that resumes from a checkpoint also needs the windows and the two states: what a checkpoint holds may be bad
    already. `Checkpoints(guard=...)` writes them beside it. Without them the guard starts afresh, and takes what was
    loaded as good.

    Attributes:
      events: recoveries, and the stop if there was one.
    """

    def __init__(
        self,
        *,
        recoveries: int = 5,
        every: int = 50,
        energy_l2: float = 0.0,
        max_gap: float = 1e3,
        max_gradient_norm: float = 1e5,
        gap_factor: float = 50.0,
        gap_floor: float = 25.0,
        gradient_factor: float = 100.0,
        gradient_floor: float = 100.0,
        max_saturation: float = 0.6,
        max_accuracy_drop: float = 0.2,
        max_overfitting: float = DROP,
        window: int = 200,
        board: Board | None = None,
        path: str = "",
    ):
        """A value that is not finite is always an alarm; a threshold of 0 turns its own check off.

        Args:
          recoveries: how often to go back; 0 stops at the first alarm.
          every: steps between snapshots.
          energy_l2: what a recovery adds to the weight of `energy_squared`, in objectives that have this term.
          max_gap: bound on the step's |E(x_pos) - E(x_neg)|.
          max_gradient_norm: bound on the step's gradient norm.
          gap_factor: bound on |gap| as a multiple of its running median.
          gap_floor: |gap| up to which that does not count. A healthy gap passes through 0, so that its median may be
            arbitrarily small, and swings by some ten: `benchmarks/stability.py`.
          gradient_factor: bound on the gradient norm as a multiple of its running median.
          gradient_floor: norm up to which that does not count.
          max_saturation: bound on the term `saturation`, mean of five steps: 0 is as many pixels of the negatives at
            the ends of the range as in data, 1 all of them.
          max_accuracy_drop: bound on the fall of the batches' accuracy, mean of ten steps, against the ten that lie 50
            steps before; a fall within five standard errors of these means is noise of small batches.
          max_overfitting: bound on `latest_overfitting`, a fall of alignment, where an `OverfittingAlarm` comes before
            the guard.
          window: steps that medians are taken over; fewer than twenty values do not count.
          board: the run's TensorBoard events, to which the guard's are added.
          path: JSON file that keeps the events, so that a resumed run knows of them; `save_state` writes beside it.
            Empty writes none.
        """
        super().__init__()
        self.recoveries, self.every, self.energy_l2 = recoveries, every, energy_l2
        self.max_gap, self.max_gradient_norm = max_gap, max_gradient_norm
        self.gap_factor, self.gap_floor = gap_factor, gap_floor
        self.gradient_factor, self.gradient_floor = gradient_factor, gradient_floor
        self.max_saturation, self.max_accuracy_drop = max_saturation, max_accuracy_drop
        self.max_overfitting = max_overfitting
        self.board, self.path = board, path
        self.events: list[GuardEvent] = []
        self._windows: dict[str, deque[float]] = {
            "gap": deque(maxlen=window),
            "gradient_norm": deque(maxlen=window),
            "saturation": deque(maxlen=_SATURATION_MEAN),
            "accuracy": deque(maxlen=DROP_WITHIN + DROP_MEAN),
        }
        self._good: _Snapshot | None = None
        self._candidate: _Snapshot | None = None
        self._snapshot_step = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        model, step = self.model, self.model.steps_taken
        if self.recoveries and not self._settable_rate() and not model.adjustments.scales_rate:
            raise ValueError(
                "expected a learning rate that can be changed, received an optimizer with a schedule; make it with "
                "`model.adjustments.schedule(schedule)`"
            )
        told = guard_files.read_events(self.path) if self.path else self.events
        self._forget()
        self._good, self._candidate, self._snapshot_step = None, None, step
        if not self._loaded(step):
            self.events = told
            if self.recoveries:
                self._good = self._snapshot(step)
        # A stop is no event of the run that resumes after it.
        self.events = [event for event in self.events if event.step <= step and not event.is_stop]
        if self.path and self.events and not os.path.exists(self.path):
            guard_files.write_events(self.path, self.events)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        alarm = self._look(logs or {})
        step = self.model.steps_taken
        if alarm is None:
            if self._good is not None and step - self._snapshot_step >= self.every:
                self._good = self._candidate or self._good
                self._candidate = self._snapshot(step)
                self._snapshot_step = step
            return
        if self._good is not None:
            if len(self.events) < self.recoveries:
                self._recover(step, alarm, self._good)
                return
            self._restore(self._good)
        recovered = f", after {len(self.events)} recoveries" if self.events else ""
        self._tell(self._event("stop", step, alarm, None if self._good is None else self._good.step))
        raise DivergenceError(
            f"training diverged at step {step}: {alarm}{recovered}. No checkpoint is written after that; the last one "
            "may be from after the trouble began. Known remedies: another seed, a lower learning rate, more chain "
            "steps, chains that start at class Gaussians, an uncoupled chain"
        )

    def save_state(self) -> str:
        """Writes windows, states and events beside `path`, for a guard that resumes from a checkpoint of this step."""
        arrays = {"snapshot_step": np.array(self._snapshot_step), "events": np.array(json.dumps(plain(self.events)))}
        arrays |= {f"window {name}": np.array(window, np.float64) for name, window in self._windows.items()}
        for kind, snapshot in (("good", self._good), ("candidate", self._candidate)):
            if snapshot is not None:
                arrays |= {f"{kind} {i}": value for i, value in enumerate((np.array(snapshot.step), *snapshot.values))}
        path = guard_files.state_file(self.path, self.model.steps_taken)
        with whole_file(path) as temporary, open(temporary, "wb") as f:
            np.savez(f, allow_pickle=False, **arrays)
        return path

    def remove_states(self, *, but: Collection[int] = ()) -> None:
        """Removes what `save_state` has written for steps that are not in `but`."""
        guard_files.remove_states(self.path, but)

    def _loaded(self, step: int) -> bool:
        """Whether windows, states and events of that step are there and were taken."""
        path = guard_files.state_file(self.path, step)
        if not self.path or not os.path.lexists(path):
            return False
        try:
            arrays = read_arrays(path)
            good, candidate = (self._read_snapshot(arrays, kind) for kind in ("good", "candidate"))
            snapshot_step = int(arrays["snapshot_step"])
            events = typed(list[GuardEvent], json.loads(str(arrays["events"])), "events")
            windows = {name: arrays[f"window {name}"].tolist() for name in self._windows}
        except (OSError, ValueError, LookupError, TypeError) as error:
            begin_anew(path, "the guard's windows and good states; it starts afresh", error)
            return False
        self._good, self._candidate, self._snapshot_step, self.events = good, candidate, snapshot_step, events
        for name, window in self._windows.items():
            window.extend(windows[name])
        return True

    def _read_snapshot(self, arrays: dict[str, np.ndarray], kind: str) -> "_Snapshot | None":
        if f"{kind} 0" not in arrays:
            return None
        state = self._state()
        step, *values = (arrays[f"{kind} {i}"] for i in range(1 + len(state)))
        for variable, value in zip(state, values, strict=True):
            if tuple(variable.shape) != value.shape:
                raise ValueError(f"expected {variable.name} of shape {list(variable.shape)}, not {list(value.shape)}")
        return _Snapshot(int(step), values)

    def _look(self, logs: dict[str, float]) -> "_Alarm | None":
        """The first alarm of this step, if there is one; the step's values join the windows."""
        latest = {name: logs[f"latest_{name}"] for name in self._windows if f"latest_{name}" in logs}
        if (adversarial := f"latest_{ADVERSARIAL}accuracy") in logs:
            latest["accuracy"] = logs[adversarial]
        if "gap" in latest:
            latest["gap"] = abs(latest["gap"])
        for name, value in ({"loss": logs.get("loss", 0.0)} | latest).items():
            if not math.isfinite(value):
                return _Alarm(name, value, None)
        gaps, norms, saturations, accuracies = self._windows.values()
        seen = dict(latest)
        limits = {
            "gap": lowest(self.max_gap, relative(gaps, self.gap_factor, self.gap_floor)),
            "gradient_norm": lowest(self.max_gradient_norm, relative(norms, self.gradient_factor, self.gradient_floor)),
        }
        for name, value in latest.items():
            self._windows[name].append(value)
        if len(saturations) == saturations.maxlen:
            seen["saturation"], limits["saturation"] = statistics.fmean(saturations), self.max_saturation
        if self.max_accuracy_drop and len(accuracies) == accuracies.maxlen:
            fall, error = drop(list(accuracies))
            seen["accuracy_drop"], limits["accuracy_drop"] = fall, max(self.max_accuracy_drop, DROP_ERRORS * error)
        if "latest_overfitting" in logs:
            seen["overfitting"], limits["overfitting"] = logs["latest_overfitting"], self.max_overfitting
        for name, limit in limits.items():
            if limit and name in seen and seen[name] > limit:
                return _Alarm(name, seen[name], limit)
        return None

    def _recover(self, step: int, alarm: "_Alarm", good: "_Snapshot") -> None:
        model, adjustments = self.model, self.model.adjustments
        self._restore(good)
        self._candidate, self._snapshot_step = None, step
        self._forget()
        model.reset_metrics()  # the epoch's means hold what set off the alarm
        scaled = model.optimizer.learning_rate if self._settable_rate() else adjustments.rate_scale
        scaled.assign(_SLOWER * scaled)
        if model.objective.negatives is not None:
            adjustments.chain_rounds.assign(2 * adjustments.chain_rounds)
            adjustments.energy_l2.assign_add(self.energy_l2)
        self._tell(self._event("recover", step, alarm, good.step))

    def _event(
        self, action: Literal["recover", "stop"], step: int, alarm: "_Alarm", restored: int | None
    ) -> GuardEvent:
        event = GuardEvent(
            step=step,
            action=action,
            reason=str(alarm),
            value=alarm.value if math.isfinite(alarm.value) else None,
            limit=alarm.limit,
            restored_step=restored,
        )
        if not self.recoveries:  # a guard that only stops asks of the model no more than its step
            return event
        return dataclasses.replace(
            event,
            learning_rate=_number(self.model.optimizer.learning_rate),
            chain_rounds=int(_number(self.model.adjustments.chain_rounds)),
            energy_l2=_number(self.model.adjustments.energy_l2),
        )

    def _tell(self, event: GuardEvent) -> None:
        """Keeps the event, and writes it to the terminal, the file and TensorBoard."""
        self.events.append(event)
        recoveries = sum(not e.is_stop for e in self.events)
        if event.is_stop:
            line = f"guard: stopped at step {event.step}, after {recoveries} recoveries: {event.reason}"
        else:
            line = (
                f"guard: recovery {recoveries} of {self.recoveries} at step {event.step}: {event.reason}; back "
                f"to the weights of step {event.restored_step}, learning rate {event.learning_rate:g}, chain "
                f"rounds {event.chain_rounds}, energy_l2 {event.energy_l2:g}"
            )
        print(f"\n{line}", flush=True)  # a progress bar may be on the line
        if self.path:
            guard_files.write_events(self.path, self.events)
        if self.board is not None:
            self.board.tell(event.step, recoveries, line)

    def _settable_rate(self) -> bool:
        return isinstance(self.model.optimizer.learning_rate, keras.Variable)

    def _forget(self) -> None:
        for window in self._windows.values():
            window.clear()

    def _state(self) -> list[keras.Variable]:
        """All that is restored: not the step and the optimizer's, nor what a recovery has changed."""
        model = self.model
        kept = {id(variable) for variable in (model.step, *model.adjustments.weights)}
        # By name: where gradients are accumulated, `optimizer.iterations` is not the variable that counts.
        moments = [v for v in model.optimizer.variables if v.name not in ("iteration", "learning_rate")]
        return [*(variable for variable in model.weights if id(variable) not in kept), *moments]

    def _snapshot(self, step: int) -> "_Snapshot":
        self.model.gather_replicas()
        return _Snapshot(step, [keras.ops.convert_to_numpy(variable) for variable in self._state()])

    def _restore(self, snapshot: "_Snapshot") -> None:
        for variable, value in zip(self._state(), snapshot.values, strict=True):
            variable.assign(value)


_SLOWER = 0.5  # factor of the learning rate in a recovery
_SATURATION_MEAN = 5


class _Snapshot(NamedTuple):
    step: int
    values: list[np.ndarray]


class _Alarm(NamedTuple):
    name: str
    value: float
    limit: float | None  # None: the value is not finite

    def __str__(self) -> str:
        return f"{self.name} is {self.value:g}" + (
            "" if self.limit is None else f", beyond the limit of {self.limit:g}"
        )


def _number(variable: Any) -> float:
    return keras.ops.convert_to_numpy(variable).item()  # `float` does not know the variables of replicas
