import functools
import json
import os
import signal

import keras
import numpy as np
import pytest

from jeat_tf import EnergyClassifier, Persistent, coupled, jeat, pgd, sgld, small_cnn, standard
from jeat_tf.attacks import cross_entropy
from jeat_tf.methods.callbacks import Checkpoints, DivergenceError, RobustAccuracy, StopOnDivergence
from jeat_tf.norms import linf
from tests.conftest import seed, tiny_cnn
from tests.test_methods import LABELS, X, attack, persistent


def compiled(objective=None, net=None):
    model = EnergyClassifier(net or tiny_cnn(), objective or standard())
    model.compile("adam", metrics=["accuracy"])
    return model


class Once(keras.callbacks.Callback):
    """Calls a function at the end of one batch."""

    def __init__(self, batch, act):
        super().__init__()
        self.batch, self.act = batch, act

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.act()


class TestRobustAccuracy:
    def test_is_the_accuracy_under_the_attack(self, trained_net, digit_arrays):
        images, labels = digit_arrays[0][:200], digit_arrays[1][:200]
        ball = linf(0.1)
        attack = functools.partial(pgd, ball=ball, step_size=0.02, num_steps=10)
        expected = np.mean(
            np.argmax(trained_net(attack(cross_entropy(trained_net, labels), images, seed=seed())), -1) == labels
        )
        model = EnergyClassifier(trained_net, standard())
        model.compile(keras.optimizers.SGD(0.0))
        history = model.fit(
            images, labels, epochs=1, verbose=0, callbacks=[RobustAccuracy(images, labels, attack)]
        ).history
        assert history["val_robust_accuracy"][0] == pytest.approx(expected)
        assert 0 < expected < 1

    def test_serves_an_ordinary_keras_model(self, trained_net, digit_arrays):
        images, labels = digit_arrays[0][:100], digit_arrays[1][:100]
        ball = linf(0.1)
        attack = functools.partial(pgd, ball=ball, step_size=0.02, num_steps=10)
        net = keras.models.clone_model(trained_net)
        net.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        net.set_weights(trained_net.get_weights())
        measured = RobustAccuracy(images, labels, attack)
        history = net.fit(images, labels, epochs=1, verbose=0, callbacks=[measured]).history
        assert 0 < history["val_robust_accuracy"][0] < np.mean(net(images).numpy().argmax(-1) == labels)

    def test_is_measured_every_so_many_epochs(self, tmp_path):
        keep = Checkpoints(str(tmp_path))
        compiled().fit(X, LABELS, epochs=4, verbose=0, callbacks=[RobustAccuracy(X, LABELS, attack(), every=2), keep])
        assert ["val_robust_accuracy" in entry for entry in keep.history] == [False, True, False, True]

    def test_serves_early_stopping(self):
        stop = keras.callbacks.EarlyStopping("val_robust_accuracy", patience=1, mode="max")
        model = EnergyClassifier(tiny_cnn(), standard())
        model.compile(keras.optimizers.SGD(0.0))  # never better than in its first epoch
        robust = RobustAccuracy(X, LABELS, attack())
        history = model.fit(X, LABELS, epochs=9, verbose=0, callbacks=[robust, stop])
        assert len(history.history["loss"]) == 2


class TestDivergence:
    def test_the_literal_coupled_chain_is_stopped_and_named(self):
        """Noise of standard deviation one on images of width one: the gap runs away within 200 steps."""
        negatives = persistent()
        chain = functools.partial(sgld, num_steps=20, **coupled(1.0)._asdict())
        net = small_cnn((8, 8, 1), 10, widths=(8, 16))
        model = EnergyClassifier(net, jeat(attack(), Persistent(negatives.buffer, chain)))
        model.compile(keras.optimizers.Adam(1e-2))
        with pytest.raises(DivergenceError, match=r"diverged at step \d+: (gap|loss|gradient_norm) is .*last good"):
            model.fit(X, LABELS, batch_size=16, epochs=200, verbose=0, callbacks=[StopOnDivergence(max_gap=100.0)])
        assert int(model.optimizer.iterations) < 200

    def test_nan_is_named(self):
        net = tiny_cnn()
        net.set_weights([w * np.nan for w in net.get_weights()])
        with pytest.raises(DivergenceError, match="step 1: loss is nan"):
            compiled(net=net).fit(X, LABELS, verbose=0, callbacks=[StopOnDivergence()])

    def test_gradient_norm_is_watched(self):
        with pytest.raises(DivergenceError, match=r"gradient_norm is .* beyond the limit of 1e-09"):
            compiled().fit(X, LABELS, verbose=0, callbacks=[StopOnDivergence(max_gradient_norm=1e-9)])

    def test_zero_does_not_look(self):
        watch = StopOnDivergence(max_gap=0, max_gradient_norm=0)
        compiled(jeat(attack(), persistent())).fit(X, LABELS, verbose=0, callbacks=[watch])

    def test_the_checkpoint_before_stays(self, tmp_path):
        model = compiled()
        keep = Checkpoints(str(tmp_path))
        model.fit(X, LABELS, verbose=0, callbacks=[keep])
        good = (tmp_path / "last.weights.h5").read_bytes()
        with pytest.raises(DivergenceError):
            model.fit(X, LABELS, verbose=0, callbacks=[StopOnDivergence(max_gradient_norm=1e-9), keep])
        assert (tmp_path / "last.weights.h5").read_bytes() == good


class TestCheckpoints:
    def test_best_is_the_highest_monitored(self, tmp_path):
        values = iter([0.5, 0.9, 0.7])

        class Scripted(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["val_robust_accuracy"] = next(values)
                saved.append([w.copy() for w in self.model.net.get_weights()])

        saved = []
        keep = Checkpoints(str(tmp_path), monitor="val_robust_accuracy")
        compiled().fit(X, LABELS, epochs=3, verbose=0, callbacks=[Scripted(), keep])
        best = keras.saving.load_model(tmp_path / "best.keras")
        np.testing.assert_array_equal(best.get_weights()[0], saved[1][0])
        history = json.loads((tmp_path / "history.json").read_text())
        assert [entry["val_robust_accuracy"] for entry in history] == [0.5, 0.9, 0.7]
        assert [entry["epoch"] for entry in history] == [1, 2, 3]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_saves_the_step_at_hand_and_stops(self, number, tmp_path):
        before = signal.getsignal(number)
        model = compiled()
        keep = Checkpoints(str(tmp_path))
        stop = Once(2, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt, match=number.name):
            model.fit(X, LABELS, batch_size=4, verbose=0, callbacks=[stop, keep])
        assert signal.getsignal(number) == before
        other = compiled()
        assert Checkpoints(str(tmp_path)).restore(other) == 3
        for a, b in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())

    def test_a_truncated_checkpoint_is_named(self, tmp_path):
        compiled().fit(X, LABELS, verbose=0, callbacks=[Checkpoints(str(tmp_path))])
        path = tmp_path / "last.weights.h5"
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(ValueError, match=r"cannot read the checkpoint .*last.weights.h5 \(2000 bytes\)"):
            Checkpoints(str(tmp_path)).restore(compiled())

    def test_a_checkpoint_of_another_net_is_named(self, tmp_path):
        compiled().fit(X, LABELS, verbose=0, callbacks=[Checkpoints(str(tmp_path))])
        with pytest.raises(ValueError, match="of another net"):
            Checkpoints(str(tmp_path)).restore(compiled(net=tiny_cnn(num_classes=12)))

    def test_nothing_half_written_stays(self, tmp_path):
        compiled().fit(X, LABELS, verbose=0, callbacks=[Checkpoints(str(tmp_path), monitor="accuracy")])
        assert sorted(os.listdir(tmp_path)) == ["best.keras", "history.json", "last.weights.h5"]
