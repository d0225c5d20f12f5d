import os

import keras
import numpy as np
import pytest

from jeat_tf import EnergyClassifier
from jeat_tf.core.energy import energy
from jeat_tf.methods.energy_changes import EnergyChanges, EnergyRecord
from jeat_tf.methods.inner import gaussian_noise, unchanged
from jeat_tf.methods.recipes.standard import Standard
from tests.conftest import linear_net

X = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
LABELS = np.arange(32) % 10
OFFSET = np.random.default_rng(1).normal(size=X.shape[1:]).astype(np.float32)


def shifted(net, x, labels, seed):
    del net, labels, seed
    return x + OFFSET


def fit(*callbacks, epochs=1, learning_rate=0.1, batch_size=8, model=None, **kwargs):
    """Four steps an epoch by default; the same weights at the start of each call."""
    if model is None:
        keras.utils.set_random_seed(0)
        model = EnergyClassifier(linear_net(), Standard())
        model.compile(keras.optimizers.SGD(learning_rate))
    settings = {"batch_size": batch_size, "epochs": epochs, "shuffle": False, "verbose": 0} | kwargs
    return model, model.fit(X, LABELS, callbacks=list(callbacks), **settings)


class Snapshots(keras.callbacks.Callback):
    """The weights before the first step and after each one."""

    def on_train_begin(self, logs=None):
        self.weights = [self.model.net.get_weights()]

    def on_train_batch_end(self, batch, logs=None):
        self.weights.append(self.model.net.get_weights())


def energies(weights, x):
    logits = x.reshape(len(x), -1) @ weights[0] + weights[1]
    return energy(logits, LABELS[: len(x)]).numpy(), energy(logits).numpy()


def test_the_changes_are_those_of_equation_15():
    changes, snapshots = EnergyChanges(X[:5], LABELS[:5], shifted, every=3), Snapshots()
    fit(changes, snapshots, epochs=2)
    record, x_adv = changes.record, X[:5] + OFFSET
    np.testing.assert_array_equal(record.step, [0, 3, 6])
    np.testing.assert_array_equal(record.epoch, [1, 1, 2])
    for i, step in enumerate(record.step):
        before, after = snapshots.weights[step : step + 2]
        joint, marginal = np.subtract(energies(before, x_adv), energies(before, X[:5]))
        np.testing.assert_allclose(record.delta_x_joint_energy[i], joint, atol=1e-5)
        np.testing.assert_allclose(record.delta_x_marginal_energy[i], marginal, atol=1e-5)
        joint, marginal = np.subtract(energies(after, x_adv), energies(before, x_adv))
        np.testing.assert_allclose(record.delta_theta_joint_energy[i], joint, atol=1e-5)
        np.testing.assert_allclose(record.delta_theta_marginal_energy[i], marginal, atol=1e-5)
        assert np.abs(joint).max() > 1e-3


def test_no_perturbation_is_no_change_by_the_attack_and_no_learning_none_by_the_update():
    changes = EnergyChanges(X, LABELS, unchanged, every=1)
    fit(changes, learning_rate=0.0)
    assert changes.record.delta_x_joint_energy.shape == (4, 32)
    for array in changes.record[2:]:
        assert not array.any()


def test_a_small_step_on_the_images_themselves_lowers_their_cross_entropy():
    changes = EnergyChanges(X, LABELS, unchanged, every=1)
    _, history = fit(changes, batch_size=32, learning_rate=1e-3)
    last = changes.record
    fall = last.delta_theta_joint_energy.mean() - last.delta_theta_marginal_energy.mean()
    # d CE = -rate |gradient|^2 to first order.
    assert fall == pytest.approx(-1e-3 * history.history["gradient_norm"][0] ** 2, rel=0.05)


def test_recording_leaves_training_as_it_is():
    model, _ = fit(EnergyChanges(X, LABELS, shifted, every=1), epochs=2)
    other, _ = fit(epochs=2)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_logs_are_the_means_of_the_epochs_that_have_a_record():
    logs = []

    class Read(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs_=None):
            logs.append({k: v for k, v in logs_.items() if k.startswith("delta_")})

    changes = EnergyChanges(X, LABELS, shifted, every=6)
    fit(changes, Read(), epochs=3)
    np.testing.assert_array_equal(changes.record.epoch, [1, 2])
    assert [set(entry) for entry in logs] == [set(EnergyRecord._fields[2:])] * 2 + [set()]
    for name, array in zip(EnergyRecord._fields[2:], changes.record[2:], strict=True):
        assert [entry[name] for entry in logs[:2]] == pytest.approx(list(array.mean(axis=1)), rel=1e-6)


def test_each_record_has_its_own_seed_and_the_same_one_again():
    first, again = (EnergyChanges(X, LABELS, gaussian_noise(0.1), every=2) for _ in range(2))
    fit(first, learning_rate=0.0)
    fit(again, learning_rate=0.0)
    assert np.all(first.record.delta_x_joint_energy[0] != first.record.delta_x_joint_energy[1])
    np.testing.assert_array_equal(first.record.delta_x_joint_energy, again.record.delta_x_joint_energy)


def test_a_run_that_goes_on_has_the_record_of_an_uninterrupted_one(tmp_path):
    path = str(tmp_path / "changes.npz")
    model, _ = fit(EnergyChanges(X, LABELS, gaussian_noise(0.1), every=3, path=path), epochs=2)
    later = EnergyChanges(X, LABELS, gaussian_noise(0.1), every=3, path=path)
    fit(later, model=model, initial_epoch=2, epochs=4)
    whole = EnergyChanges(X, LABELS, gaussian_noise(0.1), every=3)
    fit(whole, epochs=4)
    with np.load(path, allow_pickle=False) as file:
        for name, array in whole.record._asdict().items():
            np.testing.assert_array_equal(getattr(later.record, name), array)
            np.testing.assert_array_equal(file[name], array)
    assert os.listdir(tmp_path) == ["changes.npz"]


def test_what_was_recorded_after_the_step_gone_back_to_is_dropped(tmp_path):
    path = str(tmp_path / "changes.npz")
    fit(EnergyChanges(X, LABELS, shifted, every=1, path=path), epochs=2)
    again = EnergyChanges(X, LABELS, shifted, every=1, path=path)
    fit(again, epochs=1)
    np.testing.assert_array_equal(again.record.step, [0, 1, 2, 3])


def test_a_record_of_other_images_is_refused(tmp_path):
    path = str(tmp_path / "changes.npz")
    fit(EnergyChanges(X, LABELS, shifted, path=path))
    with pytest.raises(ValueError, match="expected a record of 4 images .* received one of 32"):
        fit(EnergyChanges(X[:4], LABELS[:4], shifted, path=path))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="each of 32 images, received 31"):
        EnergyChanges(X, LABELS[1:], shifted)
    with pytest.raises(ValueError, match="every >= 1, received 0"):
        EnergyChanges(X, LABELS, shifted, every=0)


def test_one_callback_serves_one_net_after_another():
    changes = EnergyChanges(X, LABELS, shifted, every=4)
    fit(changes)
    other = EnergyClassifier(linear_net(), Standard())
    other.compile(keras.optimizers.SGD(0.0))
    joint = energies(other.net.get_weights(), X + OFFSET)[0] - energies(other.net.get_weights(), X)[0]
    fit(changes, model=other)
    np.testing.assert_allclose(changes.record.delta_x_joint_energy[1], joint, atol=1e-5)
