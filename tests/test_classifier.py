import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf import EnergyClassifier, jeat, pgd_at, standard
from jeat_tf.core.balls import Linf
from jeat_tf.methods.updates import Free
from tests.conftest import tiny_cnn
from tests.test_methods import LABELS, X, attack, persistent


def classifier(objective=None):
    model = EnergyClassifier(tiny_cnn(), objective or standard())
    model.compile("adam", metrics=["accuracy"])
    return model


def test_fit_takes_arrays_datasets_validation_and_callbacks(digit_arrays):
    images, labels = digit_arrays
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(64)
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=3)
    by_dataset = classifier().fit(data, validation_data=data, epochs=2, callbacks=[stop], verbose=0).history
    by_arrays = classifier().fit(images, labels, validation_data=(images, labels), epochs=2, verbose=0).history
    for history in (by_dataset, by_arrays):
        assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
        assert history["loss"][1] < history["loss"][0]


def test_validation_loss_is_the_mean_over_images_of_unequal_batches():
    model = classifier()
    expected = np.mean(keras.losses.sparse_categorical_crossentropy(LABELS, model.net(X), from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(30)
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)


def test_predict_gives_logits():
    model = classifier()
    np.testing.assert_allclose(model.predict(X, verbose=0), model.net(X), atol=1e-5)


def test_the_saved_net_loads_where_the_package_is_unknown(tmp_path):
    model = classifier(jeat(attack(), persistent()))
    model.fit(X, LABELS, verbose=0)
    path = tmp_path / "net.keras"
    model.net.save(path)
    np.save(tmp_path / "x.npy", X)
    script = (
        "import sys, keras, numpy as np\n"
        f"net = keras.saving.load_model({str(path)!r}, safe_mode=True)\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, net(np.load({str(tmp_path / 'x.npy')!r})))\n"
        "assert not any(m.startswith('jeat_tf') for m in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), model.net(X), atol=1e-6)


@pytest.mark.slow
def test_a_net_of_keras_applications_trains():
    net = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classifier_activation=None, classes=10)
    model = EnergyClassifier(net, pgd_at(attack(num_steps=1)))
    model.compile("adam")
    images = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    assert np.isfinite(model.fit(images, np.arange(8), verbose=0).history["loss"]).all()


def test_weights_hold_net_optimizer_and_buffer(tmp_path):
    path = str(tmp_path / "state.weights.h5")
    model = classifier(jeat(attack(), persistent()))
    model.fit(X, LABELS, verbose=0)
    model.save_weights(path)
    other = classifier(jeat(attack(), persistent()))
    other.load_weights(path)
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations) == 1
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert any("replay_buffer" in w.path for w in model.weights)


class TestBadInput:
    def test_integer_images(self):
        with pytest.raises(ValueError, match="divide integer images by 255"):
            classifier().fit((X * 255).astype(np.uint8), LABELS)

    def test_unscaled_images_in_a_dataset(self):
        with pytest.raises(ValueError, match="divide by 255"):
            classifier().fit(tf.data.Dataset.from_tensor_slices((X * 255, LABELS)).batch(8))

    def test_bad_validation_images(self):
        with pytest.raises(ValueError, match="NaN"):
            classifier().fit(X, LABELS, validation_data=(X * np.nan, LABELS))

    def test_one_hot_labels(self):
        with pytest.raises(ValueError, match="argmax"):
            classifier().fit(X, np.eye(10)[LABELS])

    def test_more_classes_than_logits(self):
        with pytest.raises(ValueError, match="10 logits"):
            classifier().fit(X, LABELS + 5)

    def test_no_labels(self):
        with pytest.raises(ValueError, match="labels"):
            classifier().fit(X)

    def test_an_empty_dataset(self):
        with pytest.raises(ValueError, match="empty"):
            classifier().fit(tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(8).take(0))

    def test_weights_of_samples_or_classes(self):
        with pytest.raises(ValueError, match="sample_weight"):
            classifier().fit(X, LABELS, sample_weight=np.ones(32))
        with pytest.raises(ValueError, match="3 parts"):
            classifier().fit(tf.data.Dataset.from_tensor_slices((X, LABELS, LABELS)).batch(8))

    def test_a_loss(self):
        with pytest.raises(ValueError, match="objective"):
            EnergyClassifier(tiny_cnn(), standard()).compile("adam", loss="mse")

    def test_a_net_that_is_not_built_or_has_no_logits(self):
        with pytest.raises(ValueError, match="without input shape"):
            EnergyClassifier(keras.Sequential([keras.layers.Dense(3)]), standard())
        inputs = keras.Input((8, 8, 1))
        with pytest.raises(ValueError, match=r"\[B, K\]"):
            EnergyClassifier(keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)), standard())

    def test_more_images_than_slots_in_the_buffer(self):
        with pytest.raises(ValueError, match=r"at most 40 images, .* slots, received 50"):
            classifier(jeat(attack(), persistent())).fit(np.tile(X, (2, 1, 1, 1)), np.tile(LABELS, 2), batch_size=50)
        with pytest.raises(ValueError, match="slots, 40; make it larger, received 41"):
            persistent().buffer.draw(41, tf.constant([0, 0]))
        batches = tf.data.Dataset.from_tensor_slices((X, LABELS)).repeat(2).batch(64)  # of a size that is not known
        with pytest.raises(tf.errors.InvalidArgumentError, match="slots, 40; make it larger"):
            classifier(jeat(attack(), persistent())).fit(batches, verbose=0)

    def test_batches_of_free_that_are_not_whole(self):
        def free():
            model = EnergyClassifier(tiny_cnn(), standard(), Free(Linf(0.1), batch_size=20, image_shape=(8, 8, 1)))
            model.compile("adam")
            return model

        with pytest.raises(ValueError, match="batches of 20 images.*drop the last one.*received 12"):
            free().fit(X, LABELS, batch_size=20)
        data = tf.data.Dataset.from_tensor_slices((X, LABELS))
        with pytest.raises(tf.errors.InvalidArgumentError, match="batches of 20 images"):
            free().fit(data.batch(20), verbose=0)
        free().fit(data.batch(20, drop_remainder=True), verbose=0)

    def test_saving_the_classifier_itself_says_what_to_save(self, tmp_path):
        with pytest.raises(NotImplementedError, match=r"model.net.save"):
            classifier().save(tmp_path / "classifier.keras")
