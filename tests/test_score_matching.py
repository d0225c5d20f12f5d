import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.core.types import Batch
from jeat_tf.methods.recipes.jem_dsm import JEMDSM
from jeat_tf.methods.score_matching import denoising, noise_scales, score_matching
from tests.conftest import seed, tiny_cnn

SHAPE = (2, 2, 1)
DEVIATION, NOISE = 0.2, 0.1


@keras.saving.register_keras_serializable("tests")
class Gaussian(keras.layers.Layer):
    """One logit whose energy is a |x - b|^2 / 2: a Gaussian of precision a and mean b."""

    def build(self, input_shape):
        self.precision = self.add_weight(name="precision", shape=(), initializer="ones")
        self.mean = self.add_weight(name="mean", shape=(), initializer="zeros")

    def call(self, x):
        return -self.precision * tf.reduce_sum((x - self.mean) ** 2, axis=[1, 2, 3])[:, None] / 2


def gaussian(precision, mean):
    inputs = keras.Input(SHAPE)
    layer = Gaussian()
    net = keras.Model(inputs, layer(inputs))
    layer.precision.assign(precision)
    layer.mean.assign(mean)
    return net


def gradients(net, count=200_000):
    x = 0.5 + DEVIATION * tf.random.stateless_normal((count, *SHAPE), seed(1))
    noisy = x + NOISE * tf.random.stateless_normal((count, *SHAPE), seed(2))
    with tf.GradientTape() as tape:
        each, _ = score_matching(net, x, noisy, tf.fill([count], NOISE), NOISE)
        loss = tf.reduce_mean(each)
    return np.array([g.numpy() for g in tape.gradient(loss, net.trainable_variables)])


@pytest.mark.parametrize(("precision", "mean"), [(1.0, 0.0), (10.0, 0.5), (40.0, 0.6)])
def test_its_gradient_is_that_of_the_closed_form_for_a_gaussian(precision, mean):
    # error = (x - x_noisy) / s + s a (x_noisy - b), with x_noisy - x = s z: its mean square in closed form is
    # (1 - s^2 a)^2 + s^2 a^2 d^2 + s^2 a^2 (m - b)^2, of which J is half.
    s2, d2, m = NOISE**2, DEVIATION**2, 0.5
    by_precision = -s2 * (1 - s2 * precision) + s2 * precision * (d2 + (m - mean) ** 2)
    by_mean = -s2 * precision**2 * (m - mean)
    got = gradients(gaussian(precision, mean))
    # The mean of 800,000 numbers: its standard error is below 1e-3 of each term here.
    np.testing.assert_allclose(got, [by_precision, by_mean], atol=2e-4 * (1 + precision))


def test_the_smoothed_density_is_where_its_gradient_vanishes():
    smoothed = 1 / (DEVIATION**2 + NOISE**2)
    np.testing.assert_allclose(gradients(gaussian(smoothed, 0.5)), [0.0, 0.0], atol=5e-3)
    assert abs(gradients(gaussian(1 / DEVIATION**2, 0.5))[0]) > 1e-3 > abs(gradients(gaussian(smoothed, 0.5))[0])


def test_zero_weight_is_the_classifier():
    net, x, labels = tiny_cnn(), np.random.default_rng(0).random((4, 8, 8, 1), np.float32), tf.range(4)
    objective = denoising(noise_std=0.1, energy_weight=0.0)
    out = objective.loss(net, objective.prepare(net, x, labels, seed(0)))
    assert out.loss.numpy() == out.terms["cross_entropy"].numpy()
    assert out.terms["score_matching"].numpy() > 0


def test_scales_reach_from_the_narrowest_to_the_widest():
    np.testing.assert_allclose(noise_scales(3, 0.1, 0.4), [0.1, 0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(noise_scales(1, 0.1, 0.4), [0.1])


def test_a_batch_has_the_noise_of_its_scales():
    objective = denoising(noise_std=0.1, widest_noise_std=0.4)
    x = tf.zeros((3, 64, 64, 1))
    noisy = objective.perturb(None, x, tf.range(3), seed(0))
    np.testing.assert_allclose(tf.math.reduce_std(noisy, axis=[1, 2, 3]), [0.1, 0.2, 0.4], rtol=0.05)


def test_the_weights_of_the_net_feel_the_score():
    net, x = tiny_cnn(), np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    objective = denoising(noise_std=0.1)
    batch: Batch = objective.prepare(net, x, tf.range(4), seed(0))
    with tf.GradientTape() as tape:
        loss = objective.loss(net, batch).terms["score_matching"]
    assert tf.linalg.global_norm([g for g in tape.gradient(loss, net.trainable_variables) if g is not None]) > 0


def test_a_widest_noise_below_the_narrowest_is_refused():
    with pytest.raises(ValueError, match=r"expected widest_noise_std of at least noise_std \(0.2\), received 0.1"):
        JEMDSM(noise_std=0.2, widest_noise_std=0.1)
