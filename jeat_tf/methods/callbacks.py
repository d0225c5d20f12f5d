"""What watches a run: its progress, robust accuracy, checkpoints. `guard.py` watches for divergence."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy
from jeat_tf.core.files import whole_file, write_json
from jeat_tf.core.types import Attack
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.inner import attacked


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar without the logs that would make its line wrap; TensorBoard has them all."""

    _shown = ("loss", "accuracy", "gap", "learning_rate")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        super().on_train_batch_end(batch, self._short(logs))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, self._short(logs))

    def _short(self, logs: dict | None) -> dict:
        return {k: v for k, v in (logs or {}).items() if k in self._shown or k.startswith("val_")}


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """The model's weights are their average inside the block, if its optimizer keeps one (`use_ema`)."""
    if not model.optimizer.use_ema:
        yield
        return
    own = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


class ValidateAverage(keras.callbacks.Callback):
    """Validation is of the average. Keras' SwapEMAWeights swaps by sums, which changes the weights' last bits."""

    def on_test_begin(self, logs: dict | None = None) -> None:
        self._block = averaged(self.model)
        self._block.__enter__()

    def on_test_end(self, logs: dict | None = None) -> None:
        self._block.__exit__(None, None, None)


class RobustAccuracy(keras.callbacks.Callback):
    """Accuracy under an attack on fixed images, added to the epoch's logs as `val_robust_accuracy`.

    Put it before callbacks that read the logs (TensorBoard, early stopping, best checkpoint). Epochs between
    measurements do not have the log, so early stopping on it wants `every=1`.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, attack: Attack, *, every: int = 1):
        """
        Args:
          images: float32[N, H, W, C] in [0, 1], attacked as one batch.
          labels: int[N].
          attack: raises the cross-entropy, e.g. `functools.partial(pgd, ball=..., num_steps=10, ...)`.
          every: epochs between measurements.
        """
        super().__init__()
        self.images, self.labels = tf.constant(images), tf.constant(labels)
        self.perturb = attacked(cross_entropy, attack)
        self.every = every
        self._measure: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is None or (epoch + 1) % self.every:
            return
        if self._measure is None:
            net = getattr(self.model, "net", None) or self.model  # an ordinary Keras model has no net inside

            @tf.function(autograph=False)
            def measure() -> tf.Tensor:
                x_adv = self.perturb(net, self.images, self.labels, tf.constant([0, 3]))
                predicted = tf.argmax(net(x_adv, training=False), axis=-1, output_type=self.labels.dtype)
                return tf.reduce_mean(tf.cast(predicted == self.labels, tf.float32))

            self._measure = measure
        with averaged(self.model):
            logs["val_robust_accuracy"] = float(self._measure())


class Checkpoints(keras.callbacks.Callback):
    """Keeps a run's state so that it can go on bit for bit, the best net, and the history.

    Files, each replaced as a whole: `last.weights.h5` (net, optimizer, step, replay buffer), `best.keras` (net
    with the highest monitored log), `history.json` (one entry an epoch), and what a guard goes on with. On Ctrl-C or
    SIGTERM the step at hand is finished and saved, then KeyboardInterrupt is raised.
    """

    def __init__(self, folder: str, *, monitor: str = "", every_steps: int = 0, guard: Guard | None = None):
        """
        Args:
          folder: where the files go.
          monitor: log that picks the best net; empty picks none.
          every_steps: also save every so many steps; 0 saves at epoch ends alone.
          guard: one with a `path`, whose windows and states belong to the run's: beside the state of step t lies
            `guard-<t>.npz`, up to twice as large.
        """
        super().__init__()
        self.folder = folder
        self.monitor = monitor
        self.every_steps = every_steps
        self.guard = guard
        self.history: list[dict[str, float]] = []
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def restore(self, model: keras.Model) -> int:
        """Loads the last checkpoint into a compiled model, if there is one; returns the step it was at.

        Raises:
          ValueError: the checkpoint is damaged, or of another net.
        """
        path = self._path("last.weights.h5")
        if not os.path.exists(path):
            return 0
        try:
            model.load_weights(path)
        except Exception as error:
            raise ValueError(
                f"cannot read the checkpoint {path} ({os.path.getsize(path)} bytes): {error}; it is damaged or of "
                "another net. Remove it to start this run again"
            ) from error
        step = model.steps_taken
        if os.path.exists(self._path("history.json")):
            with open(self._path("history.json"), encoding="utf-8") as f:
                self.history = [entry for entry in json.load(f) if entry["step"] <= step]
        return step

    def on_train_begin(self, logs: dict | None = None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._note)

    def on_train_end(self, logs: dict | None = None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch + 1 == self.params.get("steps"):
            return  # the epoch's end is next: it saves, with its validation and its line of history
        if self.every_steps and self.model.steps_taken % self.every_steps == 0:
            self._save_state()
        if self._signal is not None:
            self._save_state()
            self._stop(self._signal)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        earlier = [entry[self.monitor] for entry in self.history if self.monitor in entry]
        step = self.model.steps_taken
        self.history.append({"epoch": epoch + 1, "step": step} | logs)
        # The state goes last: a run killed in between repeats this epoch and writes the same files again.
        write_json(self._path("history.json"), self.history)
        if self.monitor in logs and logs[self.monitor] > max(earlier, default=-np.inf):
            with whole_file(self._path("best.keras")) as temporary, averaged(self.model):
                self.model.net.save(temporary)
        self._save_state()
        if self._signal is not None:
            self._stop(self._signal)

    def _stop(self, number: int) -> None:
        self.on_train_end()
        raise KeyboardInterrupt(
            f"{signal.Signals(number).name} at step {self.model.steps_taken}; saved in "
            f"{self.folder}, the same command goes on"
        )

    def _save_state(self) -> None:
        # The guard's file has the step in its name, and goes when the state of another step is whole: whenever a run is
        # killed, the one that belongs to its state is there.
        if self.guard is not None:
            self.guard.save_state()
        with whole_file(self._path("last.weights.h5")) as temporary:
            self.model.save_weights(temporary)
        if self.guard is not None:
            self.guard.remove_states(but=self.model.steps_taken)

    def _note(self, number: int, frame: Any) -> None:
        del frame
        self._signal = number

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)
