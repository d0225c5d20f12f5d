"""The alarm of catastrophic overfitting, on nets whose energies are known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import Linf
from jeat_tf.core.energy import energy
from jeat_tf.core.files import KeptWarning
from jeat_tf.core.flat import replace
from jeat_tf.core.seeds import fold_in
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.overfitting import DROP, OverfittingAlarm
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.train.run import train
from tests.conftest import tiny_cnn

X = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
BALL = Linf(0.5)
LABELS = np.arange(32) % 10


def begun(perturb, net, **settings):
    """An alarm at the begin of training."""
    alarm = OverfittingAlarm(X, LABELS, perturb, BALL, every=1, **settings)
    alarm.set_model(EnergyClassifier(net, PGDAT(epsilon=0.1)))
    alarm.on_train_begin()
    return alarm


def looked(alarm):
    """What a training step logs."""
    logs = {}
    alarm.model.step.assign_add(1)
    alarm.on_train_batch_end(0, logs)
    return logs["latest_overfitting"]


def upwards(net, x, labels, seed):
    """One step along the sign of the energy's gradient."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        energies = energy(net(x, training=False), labels)
    return x + 0.5 * tf.sign(tape.gradient(energies, x))


class Bent(keras.layers.Layer):
    """f(x)[0] = 10 sum_i x_i - bend sum_i x_i^2, the other logits 0: straight where bend is 0."""

    def build(self, input_shape):
        self.bend = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        x = keras.ops.reshape(x, (-1, 64))
        first = -keras.ops.sum(10.0 * x - self.bend * x**2, axis=-1, keepdims=True)
        return keras.ops.pad(first, [[0, 0], [0, 9]])


def test_a_straight_energy_has_the_alignment_one_and_a_bent_one_the_cosine_of_its_slopes(capsys):
    """E(x, 0) = 10 sum_i x_i - bend sum_i x_i^2, of gradient 10 - 2 bend x: the cosine is known."""
    bent = Bent()
    net = keras.Sequential([keras.Input((8, 8, 1)), bent])
    alarm = OverfittingAlarm(X[:2], np.zeros(2, np.int64), upwards, BALL, every=1)
    alarm.set_model(EnergyClassifier(net, PGDAT(epsilon=0.1)))
    alarm.on_train_begin()
    assert looked(alarm) == 0.0
    bent.bend.assign(6.0)
    fall = looked(alarm)
    seed = fold_in(fold_in(alarm.seed, tf.constant(2, tf.int64)), 0)
    beside = np.clip(BALL.random_start(tf.constant(X[:2]), seed), 0, 1)
    here, there = ((10 - 12 * x).reshape(2, 64) for x in (X[:2], beside))
    cosine = np.sum(here * there, 1) / np.linalg.norm(here, axis=1) / np.linalg.norm(there, axis=1)
    assert alarm.looks == [(1, pytest.approx(1.0), 0.0), (2, pytest.approx(np.mean(cosine), abs=1e-5), fall)]
    assert fall == pytest.approx(1 - np.mean(cosine), abs=1e-5)
    assert fall > DROP
    assert alarm.alarm_step == 2
    assert "about to fall" in capsys.readouterr().out


def test_an_alarm_is_a_fall_below_the_30_steps_before(monkeypatch):
    alarm = begun(upwards, tiny_cnn())
    values = iter([0.9, *[0.87] * 30, 0.84, 0.82])
    monkeypatch.setattr(alarm, "_look", lambda step: (next(values), 1.0))
    falls = [looked(alarm) for _ in range(32)]
    assert falls == pytest.approx([0.0, *[0.03] * 31])  # 0.9 lies 31 steps before 0.84
    assert alarm.alarm_step is None
    assert looked(alarm) == pytest.approx(0.05)
    assert alarm.alarm_step == 33


def test_flat_energies_say_nothing():
    net = tiny_cnn()
    net.layers[-1].kernel.assign(tf.zeros_like(net.layers[-1].kernel))
    alarm = begun(upwards, net)
    assert looked(alarm) == 0.0
    assert alarm.looks == []


def test_a_guard_goes_back_on_the_alarm_and_not_on_a_healthy_drift():
    model = EnergyClassifier(tiny_cnn(), PGDAT(epsilon=0.1))
    model.compile(keras.optimizers.Adam(1e-3))
    guard = Guard()
    guard.set_model(model)
    guard.on_train_begin()
    guard.on_train_batch_end(0, {"latest_overfitting": 0.03})
    assert not guard.events
    guard.on_train_batch_end(0, {"latest_overfitting": 0.05})
    assert "overfitting is 0.05, beyond the limit of 0.04" in guard.events[0].reason


def test_a_run_logs_the_alignment_and_can_be_followed_by_it(tmp_path):
    config = replace(
        TrainConfig(), method="pgd_at", batch_size=300, epochs=1, images_every=0, robust_every=0, attack_steps=1,
        overfitting_every=2, monitor="energy_alignment", model_dir=str(tmp_path / "run"),
    )  # fmt: skip
    assert 0 < train(config).logs["energy_alignment"] <= 1
    assert (tmp_path / "run" / "best.keras").exists()


def test_a_method_without_an_attack_or_with_negatives_is_refused():
    with pytest.raises(ValueError, match="--overfitting_every looks at the attack"):
        replace(TrainConfig(), method="standard", overfitting_every=5)
    for method in ("jeat", "robust_jem", "dat"):
        with pytest.raises(ValueError, match=f"--method={method} shapes them by"):
            replace(TrainConfig(), method=method, overfitting_every=5)


def test_looks_are_at_least_a_step_apart():
    with pytest.raises(ValueError, match="every >= 1"):
        OverfittingAlarm(X, LABELS, upwards, BALL, every=0)


def alarm_at(path, step, values, monkeypatch):
    """An alarm of a run that begins, or resumes, at that step and finds those alignments."""
    alarm = OverfittingAlarm(X[:2], LABELS[:2], upwards, BALL, every=1, path=str(path))
    model = EnergyClassifier(tiny_cnn(), PGDAT(epsilon=0.1))
    model.step.assign(step)
    alarm.set_model(model)
    alarm.on_train_begin()
    found = iter(values)
    monkeypatch.setattr(alarm, "_look", lambda step: (next(found), 1.0))
    for _ in values:
        model.step.assign_add(1)
        alarm.on_train_batch_end(0, {})
    alarm.save()
    return alarm


def test_a_resumed_run_alarms_as_one_that_was_not_stopped(tmp_path, monkeypatch):
    values = [0.9, 0.9, 0.89, 0.84, 0.8]
    whole = alarm_at(tmp_path / "whole.npz", 0, values, monkeypatch)
    alarm_at(tmp_path / "parts.npz", 0, [*values[:3], 0.2], monkeypatch)  # killed a step after its last state
    resumed = alarm_at(tmp_path / "parts.npz", 3, values[3:], monkeypatch)
    assert whole.alarm_step == 4
    assert (resumed.looks, resumed.alarm_step) == (whole.looks, whole.alarm_step)


def test_what_a_guard_has_undone_is_forgotten(tmp_path, monkeypatch):
    alarm = alarm_at(tmp_path / "looks.npz", 0, [0.5, 0.9, 0.9], monkeypatch)
    alarm.model.step.assign(1)
    monkeypatch.setattr(alarm, "_look", lambda step: (0.5, 1.0))
    assert looked(alarm) == 0.0
    assert [step for step, _, _ in alarm.looks] == [1, 2]


def test_damaged_looks_are_set_aside(tmp_path, monkeypatch):
    path = tmp_path / "looks.npz"
    alarm_at(path, 0, [0.9, 0.9], monkeypatch)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(KeptWarning, match="looks.npz.*overfitting alarm; it starts afresh"):
        afresh = alarm_at(path, 2, [0.9], monkeypatch)
    assert [step for step, _, _ in afresh.looks] == [3]
