import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.core.energy import JointEnergy, cross_entropy, energy, energy_model
from tests.conftest import tiny_cnn

LOGITS = tf.constant([[1.0, 2.0, 3.0], [0.0, -1.0, 50.0]])
LABELS = tf.constant([2, 0])


def test_energies_of_hand_counted_logits():
    np.testing.assert_allclose(energy(LOGITS), [-np.log(np.e + np.e**2 + np.e**3), -50.0], rtol=1e-6)
    np.testing.assert_array_equal(energy(LOGITS, LABELS), [-3.0, 0.0])


def test_cross_entropy_is_the_difference_of_energies_and_is_keras_own():
    ours = cross_entropy(LOGITS, LABELS)
    np.testing.assert_allclose(ours, energy(LOGITS, LABELS) - energy(LOGITS))
    theirs = keras.losses.sparse_categorical_crossentropy(LABELS, LOGITS, from_logits=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_energy_of_low_precision_logits_is_float32():
    assert energy(tf.cast(LOGITS, tf.bfloat16)).dtype == tf.float32
    assert energy(tf.cast(LOGITS, tf.bfloat16), LABELS).dtype == tf.float32


def test_huge_logits_stay_finite():
    assert np.isfinite(energy(LOGITS * 1e4)).all()


def test_energy_model_survives_a_keras_file_in_safe_mode(tmp_path):
    net = tiny_cnn()
    model = energy_model(net)
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    before = model(x)
    assert set(before) == {"logits", "energy", "joint_energy"}
    np.testing.assert_allclose(before["logits"], net(x))
    np.testing.assert_allclose(before["energy"], energy(net(x)), rtol=1e-6)
    np.testing.assert_allclose(before["joint_energy"], -net(x))
    path = str(tmp_path / "energy.keras")
    model.save(path)
    after = keras.saving.load_model(path, safe_mode=True)(x)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_energy_layers_keep_float32_under_a_mixed_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert JointEnergy()(tf.cast(LOGITS, tf.bfloat16)).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy(policy)


def test_energy_model_refuses_a_net_without_logits():
    inputs = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match=r"logits of shape \[B, K\]"):
        energy_model(keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)))
