import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.core.energy import energy
from jeat_tf.core.image_grid import grid
from jeat_tf.core.loops import input_gradient
from jeat_tf.metrics.features import classifier_features
from jeat_tf.metrics.intervals import wilson_interval
from jeat_tf.metrics.scores import agreement
from jeat_tf.samplers.refinement import refine
from jeat_tf.samplers.sgld import sgld
from tests.conftest import seed, tiny_cnn

X = np.random.default_rng(0).random((30, 8, 8, 1), np.float32)


def test_features_are_what_the_last_dense_layer_reads():
    net = tiny_cnn()
    dense = net.layers[-1]
    logits = classifier_features(net, X) @ dense.kernel.numpy() + dense.bias.numpy()
    np.testing.assert_allclose(logits, net(X), atol=1e-5)
    assert agreement(net, X, np.argmax(net(X), -1)) == 1.0
    with pytest.raises(ValueError, match="images of shape"):
        classifier_features(net, X[:, :4])
    inputs = keras.Input((8, 8, 1))
    without = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(10, 3)(inputs)))
    with pytest.raises(ValueError, match="dense layer"):
        classifier_features(without, X)


class TestRefine:
    def test_no_steps_are_the_net_itself(self):
        net = tiny_cnn()
        np.testing.assert_array_equal(refine(net, num_steps=0)(X), net(X))

    def test_moves_the_input_down_its_energy_with_new_noise_each_time(self):
        net = tiny_cnn()
        refined = refine(net, num_steps=5, step_size=0.05, noise_std=0.001)
        assert np.mean(energy(refined(X))) < np.mean(energy(net(X)))
        assert np.abs(refined(X) - refined(X)).max() > 0

    def test_its_gradient_is_that_of_the_net_at_the_refined_image(self):
        weights = tf.constant(np.random.default_rng(0).normal(size=(64, 10)), tf.float32)

        def net(x, training=False):
            return tf.square(tf.matmul(tf.reshape(x, [-1, 64]), weights))

        settings = {"step_size": 1e-4, "noise_std": 0.0, "num_steps": 1}
        end = sgld(lambda x: energy(net(x)), tf.constant(X), seed=seed(), bounds=(0.0, 1.0), **settings)
        expected = input_gradient(lambda x: net(x)[:, 0], end)
        actual = input_gradient(lambda x: refine(net, **settings)(x)[:, 0], X)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_a_grid_places_each_image():
    images = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None] * np.ones((6, 2, 2, 1), np.float32)
    picture = grid(images, 3, scale=2)
    assert picture.shape == (2 * 5 + 1, 3 * 5 + 1, 1)
    assert [picture[1 + 5 * row, 1 + 5 * column, 0] for row in range(2) for column in range(3)] == [
        0, 51, 102, 153, 204, 255
    ]  # fmt: skip
    assert picture[0, 0, 0] == 128


def test_wilson_interval_against_published_values():
    # Newcombe, 1998, table I: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
