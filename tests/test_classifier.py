import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf import EnergyClassifier
from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.energy import energy
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.updates import Free
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.starts import ClassGaussians, Uniform
from jeat_tf.samplers.values import SGLD
from tests.conftest import tiny_cnn
from tests.test_methods import LABELS, METHODS, X, attack, contrast, persistent

JOINT = METHODS["jeat"]
FROM_CLASSES = JEM(**contrast(start=ClassGaussians()))


def classifier(method=None, net=None):
    model = EnergyClassifier(net or tiny_cnn(), method or Standard())
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
    model = classifier(JOINT)
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
    keras.utils.set_random_seed(0)
    net = keras.applications.MobileNet(
        (32, 32, 3), alpha=0.25, dropout=0.0, weights=None, classifier_activation=None, classes=10
    )
    model = EnergyClassifier(net, PGDAT(attack(steps=1)))
    model.compile("adam")
    images = np.random.default_rng(0).random((8, 32, 32, 3), np.float32)
    losses = model.fit(images, np.arange(8), epochs=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_weights_hold_net_optimizer_and_buffer(tmp_path):
    path = str(tmp_path / "state.weights.h5")
    model = classifier(JOINT)
    model.fit(X, LABELS, verbose=0)
    model.save_weights(path)
    other = classifier(JOINT)
    other.load_weights(path)
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations) == 1
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert any("replay_buffer" in w.path for w in model.weights)


class TestStarts:
    """Chains that begin where data says learn it in the first `fit`, and keep it with the weights."""

    def test_the_first_fit_adapts(self, digit_arrays):
        images, labels = digit_arrays
        model = classifier(FROM_CLASSES)
        assert not model.adapted
        assert not model.replay_buffer.images.numpy().any()
        model.fit(images, labels, batch_size=40, steps_per_epoch=1, verbose=0)
        assert model.adapted
        for k in (0, 3):
            np.testing.assert_allclose(
                model.start.means.numpy()[k], images[labels == k].mean(0).ravel(), rtol=1e-4, atol=1e-5
            )
        assert model.replay_buffer.images.numpy().any(axis=(1, 2, 3)).all()

    def test_a_dataset_teaches_what_arrays_do_and_labels_of_minus_one_are_left_out(self, digit_arrays):
        images, labels = digit_arrays
        by_arrays, by_dataset = classifier(FROM_CLASSES), classifier(FROM_CLASSES)
        by_arrays.adapt(images[400:], labels[400:])
        some = np.where(np.arange(len(labels)) < 400, -1, labels)
        by_dataset.adapt(tf.data.Dataset.from_tensor_slices((images, some)).batch(300))
        for a, b in zip(by_arrays.weights, by_dataset.weights, strict=True):
            if "start" in a.path or "buffer" in a.path:
                np.testing.assert_array_equal(a.numpy(), b.numpy())

    def test_loaded_weights_are_adapted_and_continue_bit_for_bit(self, digit_arrays, tmp_path):
        images, labels = digit_arrays[0][:400], digit_arrays[1][:400]

        def fit(model):
            model.fit(images, labels, batch_size=40, shuffle=False, steps_per_epoch=3, verbose=0)
            return model

        first = fit(classifier(FROM_CLASSES))
        first.save_weights(tmp_path / "state.weights.h5")
        second = classifier(FROM_CLASSES)
        second.load_weights(tmp_path / "state.weights.h5")
        assert second.adapted
        np.testing.assert_array_equal(first.generate(range(10)), second.generate(range(10)))
        for a, b in zip(fit(first).weights, fit(second).weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert second.steps_taken == 6

    def test_an_endless_dataset_needs_adapt_first(self, digit_arrays):
        model = classifier(FROM_CLASSES)
        endless = tf.data.Dataset.from_tensor_slices(digit_arrays).batch(40).repeat()
        with pytest.raises(ValueError, match=r"endless.*adapt\(images, labels\)"):
            model.fit(endless, steps_per_epoch=2, verbose=0)
        model.adapt(*digit_arrays)
        model.fit(endless, steps_per_epoch=2, verbose=0)
        assert model.steps_taken == 2

    def test_a_generator_needs_adapt_first(self):
        with pytest.raises(ValueError, match=r"adapt\(images, labels\)"):
            classifier(FROM_CLASSES).fit((batch for batch in [(X, LABELS)]), verbose=0)


class TestGenerate:
    def test_gives_an_image_of_each_label(self):
        images = classifier(JEM(**contrast())).generate(range(10), [Stage(SGLD(5))])
        assert images.shape == (10, 8, 8, 1)
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1

    def test_the_seed_decides_and_chains_lower_the_energy_of_the_label(self):
        model = classifier()
        labels = np.arange(10)
        quiet = [Stage(SGLD(20, noise_std=0.0))]
        images = model.generate(labels, quiet, seed=1)
        np.testing.assert_array_equal(images, model.generate(labels, quiet, seed=1))
        assert np.any(images != model.generate(labels, quiet, seed=2))
        begin = model.generate(labels, [], seed=1)
        assert np.all(model.energy(images, labels) < model.energy(begin, labels))

    def test_methods_draw_in_their_own_way_unless_told(self):
        model = classifier()
        eq16 = [Stage(SGLD(200), "cross_entropy")]
        np.testing.assert_array_equal(model.generate(range(3)), model.generate(range(3), eq16, start=Uniform()))

    def test_a_start_that_has_not_seen_data_is_refused(self):
        with pytest.raises(ValueError, match=r"ClassGaussians\(\).*adapt\(images, labels\)"):
            classifier(FROM_CLASSES).generate(range(10))

    def test_labels_that_are_no_classes_are_refused(self):
        with pytest.raises(ValueError, match="10 logits"):
            classifier().generate([3, 10])


def test_energies_are_those_of_the_net():
    model = classifier()
    logits = model.net(X)
    np.testing.assert_array_equal(model.energy(X), energy(logits))
    np.testing.assert_array_equal(model.energy(X, LABELS), energy(logits, LABELS))
    with pytest.raises(ValueError, match="255"):
        model.energy(X * 255)
    with pytest.raises(ValueError, match="10 logits"):
        model.energy(X, LABELS + 5)


class TestPresets:
    def test_a_preset_is_a_method_and_its_settings_can_be_changed(self):
        model = EnergyClassifier.from_preset("digits/jeat", tiny_cnn(), epsilon=0.2)
        assert isinstance(model.method, JEAT)
        assert model.method.ball == Linf(0.2)
        assert model.method.start == Uniform()
        assert (model.method.chain.steps, model.replay_buffer.size) == (20, 2000)
        assert EnergyClassifier.from_preset("digits/jeat", tiny_cnn()).method.ball == Linf(26 / 255)

    def test_its_update_comes_with_it(self):
        assert EnergyClassifier.from_preset("digits/pgd_at_awp", tiny_cnn()).update is not None
        model = EnergyClassifier.from_preset("digits/pgd_at", tiny_cnn(), attack_norm="l2", epsilon=0.5, update="awp")
        assert model.method.ball == L2(0.5)

    def test_unknown_names_are_told_the_nearest(self):
        with pytest.raises(ValueError, match="digits/jeat"):
            EnergyClassifier.from_preset("digits/jaet", tiny_cnn())
        with pytest.raises(ValueError, match="epsilon"):
            EnergyClassifier.from_preset("digits/jeat", tiny_cnn(), epsilom=0.2)
        with pytest.raises(ValueError, match="beta.*has no effect.*trades and weat"):
            EnergyClassifier.from_preset("digits/jeat", tiny_cnn(), beta=1.0)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.logits = keras.layers.Flatten(), keras.layers.Dense(10)

    def call(self, x, training=False):
        return self.logits(self.flat(x))


def test_a_subclassed_net_that_has_been_called_serves():
    net = Subclassed()
    with pytest.raises(ValueError, match="call it on a batch of images"):
        EnergyClassifier(net, Standard())
    net(X[:1])
    model = classifier(JOINT, net)
    assert (model.image_shape, model.num_classes) == ((8, 8, 1), 10)
    before = net.get_weights()[0]
    losses = model.fit(X, LABELS, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert np.any(net.get_weights()[0] != before)


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
            EnergyClassifier(tiny_cnn(), Standard()).compile("adam", loss="mse")

    def test_a_net_that_is_not_built_or_has_no_logits(self):
        with pytest.raises(ValueError, match="without weights"):
            EnergyClassifier(keras.Sequential([keras.layers.Dense(3)]), Standard())
        inputs = keras.Input((8, 8, 1))
        with pytest.raises(ValueError, match=r"\[B, K\]"):
            EnergyClassifier(keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)), Standard())

    def test_more_images_than_slots_in_the_buffer(self):
        with pytest.raises(ValueError, match=r"at most 40 images, .* slots, received 50"):
            classifier(JOINT).fit(np.tile(X, (2, 1, 1, 1)), np.tile(LABELS, 2), batch_size=50)
        with pytest.raises(ValueError, match="slots, 40; make it larger, received 41"):
            persistent().buffer.draw(41, tf.constant([0, 0]))
        batches = tf.data.Dataset.from_tensor_slices((X, LABELS)).repeat(2).batch(64)  # of a size that is not known
        with pytest.raises(ValueError, match="slots, 40; make it larger"):
            classifier(JOINT).fit(batches, verbose=0)

    def test_batches_of_free_that_are_not_whole(self):
        def free():
            model = EnergyClassifier(tiny_cnn(), Standard(), Free(Linf(0.1), batch_size=20))
            model.compile("adam")
            return model

        with pytest.raises(ValueError, match="batches of 20 images.*drop the last one.*received 12"):
            free().fit(X, LABELS, batch_size=20)
        data = tf.data.Dataset.from_tensor_slices((X, LABELS))
        with pytest.raises(ValueError, match="batches of 20 images"):
            free().fit(data.batch(20), verbose=0)
        free().fit(data.batch(20, drop_remainder=True), verbose=0)

    def test_what_is_no_method_or_no_update(self):
        with pytest.raises(TypeError, match="JEAT"):
            EnergyClassifier(tiny_cnn(), "jeat")
        with pytest.raises(TypeError, match="AWP"):
            EnergyClassifier(tiny_cnn(), Standard(), "awp")

    def test_saving_the_classifier_itself_says_what_to_save_and_touches_no_file(self, tmp_path):
        path = tmp_path / "classifier.keras"
        path.write_text("there")
        with pytest.raises(NotImplementedError, match=r"model.net.save"):
            classifier().save(path)
        assert path.read_text() == "there"
