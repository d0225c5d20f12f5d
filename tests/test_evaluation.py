import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.energy import energy
from jeat_tf.evaluation import agreement, classifier_features, frechet_distance, refine, wilson_interval
from jeat_tf.loops import input_gradient
from jeat_tf.pictures import grid
from jeat_tf.samplers import sgld
from tests.conftest import seed, tiny_cnn

X = np.random.default_rng(0).random((30, 8, 8, 1), np.float32)


def test_frechet_distance_of_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(5000, 3))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    a, b = white * [1.0, 2.0, 3.0], white * [2.0, 2.0, 1.0] + [1.0, 0.0, -1.0]
    # Commuting covariances: |mean difference|^2 + sum of (std_a - std_b)^2.
    assert frechet_distance(a, b) == pytest.approx(2 + 1 + 0 + 4, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_the_matrix_square_root():
    import scipy.linalg

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(
        np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_with_fewer_images_than_features_is_finite_and_zero_on_itself():
    few = np.random.default_rng(0).normal(size=(5, 20))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(few[:1], few)


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
