"""What `fit` prints."""

import sys
import time

import keras

from jeat_tf.methods.logs import ADVERSARIAL

_SHOWN = ("loss", "accuracy", f"{ADVERSARIAL}accuracy", "gap", "learning_rate")


class Progress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar on a terminal, without the logs that would make its line wrap; elsewhere a line an epoch.

    `verbose=2` asks for a line an epoch on a terminal too. TensorBoard has all logs.
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        self.verbose: int = 2 if self.verbose == 1 and not sys.stdout.isatty() else self.verbose

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._begun, self._steps = time.monotonic(), 0
        if self.verbose == 1:
            super().on_epoch_begin(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._steps = batch + 1
        if self.verbose == 1:
            super().on_train_batch_end(batch, _short(logs))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.verbose == 1:
            super().on_epoch_end(epoch, _short(logs))
        elif self.verbose:
            seconds = time.monotonic() - self._begun
            values = ", ".join(f"{name} {value:.4g}" for name, value in _short(logs).items())
            print(f"epoch {epoch + 1}/{self.epochs}: {self._steps} steps, {seconds:.0f} s; {values}", flush=True)


def _short(logs: dict | None) -> dict:
    return {name: value for name, value in (logs or {}).items() if name in _SHOWN or name.startswith("val_")}
