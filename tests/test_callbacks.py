import json
import os
import signal
import sys

import keras
import numpy as np
import pytest

from jeat_tf import EnergyClassifier
from jeat_tf.attacks.surrogates import cross_entropy
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Linf
from jeat_tf.methods.callbacks import Checkpoints, RobustAccuracy, averaged
from jeat_tf.methods.recipes.standard import Standard
from tests.conftest import seed, tiny_cnn
from tests.test_methods import LABELS, X, attack


def compiled(net=None):
    model = EnergyClassifier(net or tiny_cnn(), Standard())
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
        attack = PGD(Linf(0.1), 10, 0.02, "image")
        expected = np.mean(
            np.argmax(trained_net(attack(cross_entropy(trained_net, labels), images, seed=seed())), -1) == labels
        )
        model = EnergyClassifier(trained_net, Standard())
        model.compile(keras.optimizers.SGD(0.0))
        history = model.fit(
            images, labels, epochs=1, verbose=0, callbacks=[RobustAccuracy(images, labels, attack)]
        ).history
        assert history["val_robust_accuracy"][0] == pytest.approx(expected)
        assert 0 < expected < 1

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("head", [None, "softmax"])
    def test_serves_fit_of_keras_2(self, head, digit_arrays):
        tf_keras = pytest.importorskip("tf_keras")
        images, labels = digit_arrays[0][:100], digit_arrays[1][:100]
        k = tf_keras.layers
        net = tf_keras.Sequential([k.Flatten(input_shape=(8, 8, 1)), k.Dense(10, head)])
        net.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callbacks = [RobustAccuracy(images, labels, PGD(Linf(0.0), 1))]
        callbacks.append(tf_keras.callbacks.EarlyStopping("val_robust_accuracy", mode="max"))
        if head:
            with pytest.raises(ValueError, match="one that ends in softmax"):
                net.fit(images, labels, verbose=0, callbacks=callbacks)
        else:
            found = net.fit(images, labels, epochs=2, verbose=0, callbacks=callbacks).history["val_robust_accuracy"]
            right = net.predict(images, verbose=0).argmax(-1) == labels
            assert found[-1] == pytest.approx(right.mean())

    def test_serves_an_ordinary_keras_model(self, trained_net, digit_arrays):
        images, labels = digit_arrays[0][:100], digit_arrays[1][:100]
        attack = PGD(Linf(0.1), 10, 0.02, "image")
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

    @pytest.mark.slow
    def test_serves_early_stopping(self):
        stop = keras.callbacks.EarlyStopping("val_robust_accuracy", patience=1, mode="max")
        model = EnergyClassifier(tiny_cnn(), Standard())
        model.compile(keras.optimizers.SGD(0.0))  # never better than in its first epoch
        robust = RobustAccuracy(X, LABELS, attack())
        history = model.fit(X, LABELS, epochs=9, verbose=0, callbacks=[robust, stop])
        assert len(history.history["loss"]) == 2


class TestAverage:
    @pytest.mark.parametrize("scaled", [False, True])
    def test_it_is_in_the_net_inside_the_block_alone(self, scaled):
        model = EnergyClassifier(tiny_cnn(), Standard())
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
        history = []

        class Follow(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                history.append(model.net.get_weights()[0].copy())
                with averaged(model):
                    history.append(model.net.get_weights()[0].copy())
                np.testing.assert_array_equal(model.net.get_weights()[0], history[-2])

        model.fit(X, LABELS, batch_size=16, shuffle=False, verbose=0, callbacks=[Follow()])
        first, average, second, later = history
        np.testing.assert_allclose(later, 0.5 * average + 0.5 * second, rtol=1e-4, atol=1e-6)
        assert np.any(second != later)

    def test_a_model_without_one_is_left_alone(self):
        model = compiled()
        before = model.net.get_weights()[0]
        with averaged(model):
            np.testing.assert_array_equal(model.net.get_weights()[0], before)


class TestProgress:
    def test_it_is_a_line_an_epoch_where_there_is_no_terminal(self, capsys):
        compiled().fit(X, LABELS, batch_size=16, epochs=2, validation_data=(X, LABELS))
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("epoch 1/2: 2 steps, ")
        names = [part.split()[0] for part in second.partition("; ")[2].split(", ")]
        assert names == ["accuracy", "loss", "val_accuracy", "val_loss"]

    def test_it_is_keras_bar_on_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
        compiled().fit(X, LABELS, batch_size=16, epochs=2)
        shown = capsys.readouterr().out
        assert "Epoch 2/2" in shown
        assert "2/2" in shown.replace("Epoch 2/2", "")
        assert "cross_entropy" not in shown

    def test_nothing_is_printed_where_nothing_is_asked_for(self, capsys):
        compiled().fit(X, LABELS, batch_size=16, verbose=0)
        assert capsys.readouterr().out == ""


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
        with pytest.raises(ValueError, match=r"cannot read the checkpoint .*last.weights.h5 \(2,000 bytes"):
            Checkpoints(str(tmp_path)).restore(compiled())

    def test_a_checkpoint_of_another_net_is_named(self, tmp_path):
        compiled().fit(X, LABELS, verbose=0, callbacks=[Checkpoints(str(tmp_path))])
        with pytest.raises(ValueError, match="of another net"):
            Checkpoints(str(tmp_path)).restore(compiled(net=tiny_cnn(num_classes=12)))

    def test_nothing_half_written_stays(self, tmp_path):
        compiled().fit(X, LABELS, verbose=0, callbacks=[Checkpoints(str(tmp_path), monitor="accuracy")])
        assert sorted(os.listdir(tmp_path)) == ["best.keras", "history.json", "last.json", "last.weights.h5"]
