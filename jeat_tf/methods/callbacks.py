"""What watches a run: robust accuracy, checkpoints. `guard.py` watches for divergence."""

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy
from jeat_tf.core import generations
from jeat_tf.core.checks import admit, check_labels, check_shape, check_taken
from jeat_tf.core.files import KeptWarning, begin_anew, sha256, whole_file, write_json
from jeat_tf.core.logits import check_head, check_logits
from jeat_tf.core.types import Attack
from jeat_tf.methods.energy_changes import EnergyChanges
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.inner import attacked
from jeat_tf.methods.overfitting import OverfittingAlarm


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """The model's weights are their average inside the block, if its optimizer keeps one (`use_ema`)."""
    if not getattr(model.optimizer, "inner_optimizer", model.optimizer).use_ema:  # of a LossScaleOptimizer
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
    measurements do not have the log, so early stopping on it wants `every=1`. It also works in `fit` of Keras 2
    (tf_keras).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, attack: Attack, *, every: int = 1):
        """
        Args:
          images: float[N, H, W, C] in [0, 1], attacked as one batch.
          labels: int[N].
          attack: raises the cross-entropy, e.g. `functools.partial(pgd, ball=..., num_steps=10, ...)`.
          every: epochs between measurements.

        Raises:
          TypeError: no attack.
          ValueError: invalid images or labels; before the first epoch, a model that gives no
            logits or has other images.
        """
        super().__init__()
        if not callable(attack):
            raise TypeError(f"expected an attack such as attacks.PGD(Linf(8 / 255)), received {attack!r}")
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"expected every, a whole number of epochs of at least 1, received {every!r}")
        self.images, self.labels = map(tf.constant, admit(images, labels))
        self.perturb = attacked(cross_entropy, attack)
        self.every = every
        self._measure: Any = None

    def _of_batches(self) -> bool:
        """Whether it does anything at a batch: `fit` of Keras 2 asks, and that of Keras 3 does not."""
        return False

    _implements_train_batch_hooks = _implements_test_batch_hooks = _implements_predict_batch_hooks = _of_batches

    def on_train_begin(self, logs: dict | None = None) -> None:
        check_taken(self.model, self.images.numpy())
        if (shape := getattr(self.model, "image_shape", None)) is not None:
            check_shape(tuple(self.images.shape[1:]), shape)
        logits = self.model(self.images[:1], training=False)
        check_head(self.model)
        check_logits(logits)
        check_labels(self.labels, logits.shape[-1])

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is None or (epoch + 1) % self.every:
            return
        if self._measure is None:
            net = self.model  # an EnergyClassifier or an ordinary Keras model: both give logits

            @tf.function(autograph=False)
            def measure() -> tf.Tensor:
                x_adv = self.perturb(net, self.images, self.labels, tf.constant([0, 3]))
                predicted = tf.argmax(net(x_adv, training=False), axis=-1, output_type=self.labels.dtype)
                return tf.reduce_mean(tf.cast(predicted == self.labels, tf.float32))

            self._measure = measure
        with averaged(self.model):
            logs["val_robust_accuracy"] = float(self._measure())


class Checkpoints(keras.callbacks.Callback):
    """Keeps a run's state so that it can resume bit for bit, the best net, and the history.

    Files, each replaced as a whole: `last.weights.h5` and `previous.weights.h5` (net, optimizer, step, replay buffer)
    with their manifests `last.json` and `previous.json` (digests, metrics, history), `best.keras` (net with the highest
    monitored log), `history.json` (one entry an epoch), and the guard's state. On Ctrl-C or SIGTERM the current step is
    finished and saved, then KeyboardInterrupt is raised.

    Attributes:
      history: the epochs' logs, each with its epoch and step.
    """

    def __init__(
        self,
        folder: str,
        *,
        monitor: str = "",
        every_steps: int = 0,
        guard: Guard | None = None,
        records: Sequence[EnergyChanges | OverfittingAlarm] = (),
        together: Callable[[int], int] = int,
    ):
        """
        Args:
          folder: where the files go.
          monitor: log that picks the best net; empty picks none.
          every_steps: also save every so many steps; 0 saves at epoch ends alone.
          guard: one with a `path`, whose windows and states belong to the run's: beside the state of step t lies
            `guard-<t>.npz`, up to twice as large.
          records: callbacks with a `path`, whose records are written with each state. Put them before this callback.
          together: the signal of this process, or 0 -> that of any process that trains this net; all stop as one.
        """
        super().__init__()
        self.folder = folder
        self.monitor = monitor
        self.every_steps = every_steps
        self.guard = guard
        self.records = records
        self.together = together
        self.history: list[dict[str, float]] = []
        self._seconds, self._begun = 0.0, time.monotonic()
        self._metrics: list[Any] = []
        self._kept: set[int] = set()
        self._signal = 0
        self._handlers: dict[int, Any] = {}

    def restore(self, model: keras.Model) -> int:
        """Loads the newest intact state into a compiled model, if there is one; returns the step it was at.

        A state that is damaged is set aside, with a warning that says how many steps are done again.

        Raises:
          ValueError: no state is intact, or it is of another net.
        """
        found = generations.newest(self.folder)
        self._begun = time.monotonic()
        if found.path is None or found.manifest is None:
            if found.broken:
                what = "; ".join(f"{path} ({why})" for path, why in found.broken.items())
                raise ValueError(
                    f"cannot read the checkpoint {what}: no intact state is in {self.folder}. Nothing was changed. "
                    "Move these files away to start this run again, or give another folder"
                )
            return 0
        try:
            model.load_weights(found.path)
        except Exception as error:
            raise ValueError(
                f"cannot use the checkpoint {found.path}: it is intact, but of another net or optimizer than the "
                f"settings describe ({error}); give another folder"
            ) from error
        manifest, step = found.manifest, model.steps_taken
        if aside := generations.settle(self.folder, found):
            what = "; ".join(f"{path} is damaged: {why}" for path, why in found.broken.items())
            lost = max(0, found.newest - step)
            warnings.warn(
                f"{what}. The run resumes from the intact state of step {step}; {lost} steps are done again. The "
                f"damaged file is kept as {', '.join(aside)}",
                KeptWarning,
                stacklevel=2,
            )
        self._check_files(manifest.files)
        self.history = list(manifest.history)
        self._seconds, self._kept = manifest.seconds, {step}
        self._metrics = manifest.metrics
        if self.history or os.path.lexists(self._path("history.json")):
            self._write_history()
        return step

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken in all processes, as far as its states record them."""
        return self._seconds + time.monotonic() - self._begun

    def on_train_begin(self, logs: dict | None = None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._note)

    def on_train_end(self, logs: dict | None = None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Keras has just set the metrics to zero. Of an epoch that was interrupted they hold its first steps.
        variables = self.model.metrics_variables
        if self._metrics and len(self._metrics) == len(variables):
            for variable, value in zip(variables, self._metrics, strict=True):
                variable.assign(np.asarray(value, variable.dtype))
        self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch + 1 == self.params.get("steps"):
            return  # the epoch's end is next: it saves, with its validation and its line of history
        if self.every_steps and self.model.steps_taken % self.every_steps == 0:
            self._save_state(within_epoch=True)
        if signal_ := self.together(self._signal):
            self._save_state(within_epoch=True)
            self._stop(signal_)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        earlier = [entry[self.monitor] for entry in self.history if self.monitor in entry]
        step = self.model.steps_taken
        self.history.append({"epoch": epoch + 1, "step": step} | logs)
        # The state goes last: a run killed in between repeats this epoch and writes the same files again.
        self._write_history()
        if self.monitor in logs and logs[self.monitor] > max(earlier, default=-np.inf):
            with whole_file(self._path("best.keras")) as temporary, averaged(self.model):
                self.model.net.save(temporary)
        self._save_state(within_epoch=False)
        if signal_ := self.together(self._signal):
            self._stop(signal_)

    def _write_history(self) -> None:
        write_json(self._path("history.json"), self.history)

    def _stop(self, number: int) -> None:
        self.on_train_end()
        raise KeyboardInterrupt(
            f"{signal.Signals(number).name} at step {self.model.steps_taken}; saved in "
            f"{self.folder}, the same command resumes it"
        )

    def _save_state(self, *, within_epoch: bool) -> None:
        # The guard's file has the step in its name, and is removed after the state of its step: whenever a run is
        # killed, the files that belong to its states are there.
        step = self.model.steps_taken
        files: dict[str, str] = {}
        for record in self.records:
            record.save()
        if self.guard is not None:
            path = self.guard.save_state()
            files[os.path.basename(path)] = sha256(path)
        metrics = [keras.ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
        generations.commit(
            self.folder,
            self.model.save_weights,
            step=step,
            metrics=metrics if within_epoch else [],
            history=self.history,
            seconds=round(self.seconds, 3),
            files=files,
        )
        if self.guard is not None:
            self.guard.remove_states(but=self._kept | {step})
        self._kept = {step}

    def _check_files(self, files: dict[str, str]) -> None:
        for name, digest in files.items():
            path = self._path(name)
            if not os.path.isfile(path):
                warnings.warn(f"{path} is missing; the guard starts afresh", KeptWarning, stacklevel=3)
            elif sha256(path) != digest:
                begin_anew(path, "the guard's windows and good states; it starts afresh", "not what was written")

    def _note(self, number: int, frame: Any) -> None:
        del frame
        self._signal = number

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)
