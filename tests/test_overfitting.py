"""The alarm of catastrophic overfitting, on nets whose energies are known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.values import PGD
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import Linf
from jeat_tf.core.flat import replace
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.guard import Guard
from jeat_tf.methods.overfitting import OverfittingAlarm
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.train.run import train
from tests.conftest import tiny_cnn

X = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
LABELS = np.arange(32) % 10


def begun(perturb, net=None, steps=10, **settings):
    """An alarm at the begin of training, of a net whose logits are steep enough to say something."""
    net = net or tiny_cnn()
    net.layers[-1].kernel.assign(300 * net.layers[-1].kernel)
    model = EnergyClassifier(net, PGDAT(epsilon=0.1))
    alarm = OverfittingAlarm(X, LABELS, perturb, PGD(Linf(0.1), steps=steps, start="image"), every=1, **settings)
    alarm.set_model(model)
    alarm.on_train_begin()
    model.step.assign_add(1)
    return alarm


def unmoved(net, x, labels, seed):
    return x


def test_the_share_of_an_attack_with_itself_is_one():
    alarm = begun(lambda net, x, labels, seed: alarm.strong(net, x, labels, seed))
    logs = {}
    alarm.on_train_batch_end(0, logs)
    assert alarm.shares == [(1, pytest.approx(1.0))]
    assert logs["latest_overfitting"] == pytest.approx(0.0, abs=1e-6)
    assert alarm.alarm_step is None


def test_an_attack_that_raises_no_energy_is_an_alarm_at_once(capsys):
    alarm = begun(unmoved)
    logs, epoch = {}, {}
    alarm.on_train_batch_end(0, logs)
    alarm.on_epoch_end(0, epoch)
    assert logs["latest_overfitting"] == pytest.approx(1.0)
    assert epoch["energy_share"] == pytest.approx(0.0)
    assert alarm.alarm_step == 1
    assert "about to fall" in capsys.readouterr().out


def test_flat_energies_say_nothing():
    net = tiny_cnn()
    net.layers[-1].kernel.assign(tf.zeros_like(net.layers[-1].kernel))
    alarm = begun(unmoved, net)
    alarm.on_train_batch_end(0, {})
    assert alarm.shares == [(1, 1.0)]


def test_a_guard_goes_back_on_the_alarm_and_not_on_a_healthy_share():
    model = EnergyClassifier(tiny_cnn(), PGDAT(epsilon=0.1))
    model.compile(keras.optimizers.Adam(1e-3))
    guard = Guard()
    guard.set_model(model)
    guard.on_train_begin()
    guard.on_train_batch_end(0, {"latest_overfitting": 0.16})
    assert not guard.events
    guard.on_train_batch_end(0, {"latest_overfitting": 0.18})
    assert "overfitting is 0.18, beyond the limit of 0.17" in guard.events[0].reason


def test_a_run_logs_the_share_and_can_be_followed_by_it(tmp_path):
    config = replace(
        TrainConfig(), method="pgd_at", batch_size=300, epochs=1, images_every=0, robust_every=0, attack_steps=1,
        overfitting_every=2, monitor="energy_share", model_dir=str(tmp_path / "run"),
    )  # fmt: skip
    assert train(config).logs["energy_share"] == 1.0  # the first steps say nothing
    assert (tmp_path / "run" / "best.keras").exists()


def test_a_method_without_an_attack_is_refused():
    with pytest.raises(ValueError, match="--overfitting_every compares the attack"):
        replace(TrainConfig(), method="standard", overfitting_every=5)


def test_looks_are_at_least_a_step_apart():
    with pytest.raises(ValueError, match="every >= 1"):
        OverfittingAlarm(X, LABELS, unmoved, PGD(), every=0)
