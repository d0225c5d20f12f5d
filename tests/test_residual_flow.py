import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf import attacks
from jeat_tf.attacks.pgd import pgd
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import Linf
from jeat_tf.core.flat import replace
from jeat_tf.core.seeds import split
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.models.flow import decode, encode, flow_samples, initialize_flow
from jeat_tf.models.residual_flow import ResidualBlock, log_densities, residual_flow
from jeat_tf.samplers.generation import is_flow
from tests.conftest import seed
from tests.test_glow import flat, log_det_of, moved, uniform

LABELS = tf.constant([0, 1, 2, 1])


@pytest.fixture(scope="module")
def block():
    keras.utils.set_random_seed(0)
    layer = ResidualBlock(8)
    layer(uniform(1, 4, 4, 2))
    moved(layer)
    for convolution in layer.convolutions:  # the kernels were moved by hand: the power method follows them
        for _ in range(10):
            convolution.follow()
    return layer


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    net = moved(residual_flow((4, 4, 1), 3, levels=2, depth=1, width=8))
    net(uniform(1, 4, 4, 1), training=True)
    return net


def matrix(convolution, shape):
    """A convolution as a matrix over whole images."""
    size = math.prod(shape)
    units = tf.reshape(tf.eye(size), [size, *shape])
    return np.reshape(tf.nn.conv2d(units, convolution.bounded_kernel(), 1, "SAME"), [size, -1])


def norms(layer, shape):
    found = []
    for convolution in layer.convolutions:
        found.append(np.linalg.norm(matrix(convolution, shape), 2))
        shape = (*shape[:-1], convolution.filters)
    return found


def test_no_convolution_of_a_block_stretches_by_more_than_the_coefficient(block):
    assert max(norms(block, (4, 4, 2))) == pytest.approx(0.9, rel=0.01)


def test_training_keeps_the_bound():
    keras.utils.set_random_seed(0)
    net = residual_flow((4, 4, 1), 3, levels=1, depth=1, width=8, coefficient=0.8)
    x, optimizer = uniform(32, 4, 4, 1), keras.optimizers.Adam(1e-2)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(net(x, training=True))
        variables = net.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    losses = [float(step()) for _ in range(40)]
    assert losses[-1] < losses[0]
    layer = next(layer for layer in net.layers if isinstance(layer, ResidualBlock))
    assert max(norms(layer, (4, 4, 1))) < 0.8 * 1.02


def test_the_log_determinant_is_the_exact_one_on_average(block):
    x = uniform(1, 4, 4, 2)
    exact = log_det_of(lambda x: block(x)[0], x)
    draw = tf.function(lambda seed: block.estimate(tf.repeat(x, 20, axis=0), seed)[1])
    # Images of a draw share the number of terms: a draw counts as one.
    draws = [np.mean(draw(own)) for own in split(seed(), 1000)]
    assert abs(np.mean(draws) - exact) < 3 * np.std(draws) / math.sqrt(1000)
    assert abs(exact) > 10 * np.std(draws) / math.sqrt(1000)  # the bound above says something


def test_the_gradient_of_a_log_determinant_is_the_exact_one_on_average(block):
    x = uniform(1, 4, 4, 2)
    kernel = block.convolutions[1].kernel

    def exact(shift):
        kernel.assign_add(shift)
        found = log_det_of(lambda x: block(x)[0], x)
        kernel.assign_sub(shift)
        return found

    direction = np.random.default_rng(1).normal(size=kernel.shape).astype(np.float32)
    slope = (exact(0.01 * direction) - exact(-0.01 * direction)) / 0.02

    @tf.function
    def draw(seed):
        with tf.GradientTape() as tape:
            log_det = tf.reduce_mean(block.estimate(tf.repeat(x, 20, axis=0), seed)[1])
        return tf.reduce_sum(tape.gradient(log_det, kernel.value) * direction)

    draws = [float(draw(own)) for own in split(seed(), 1000)]
    assert abs(np.mean(draws) - slope) < 3 * np.std(draws) / math.sqrt(1000)
    assert abs(slope) > 10 * np.std(draws) / math.sqrt(1000)


def test_the_series_of_inference_converges_to_the_exact_log_determinant(block):
    x = uniform(1, 4, 4, 2)
    _, product = block.contraction(x)
    units = tf.reshape(tf.eye(32), [32, 4, 4, 2])
    jacobian = np.concatenate([np.reshape(product(units[i : i + 1]), [1, 32]) for i in range(32)])
    power, series = np.eye(32), 0.0
    for k in range(1, block.terms + 1):
        power = power @ jacobian
        series += (-1) ** (k + 1) / k * np.trace(power)
    np.testing.assert_allclose(series, log_det_of(lambda x: block(x)[0], x), rtol=0.01)


def test_a_block_is_inverted_to_rounding(block):
    x = 3 * tf.random.stateless_normal([64, 4, 4, 2], seed())
    np.testing.assert_allclose(block.inverse(block(x)[0]), x, atol=1e-5)


def test_images_come_back_from_their_latents(flow):
    for images in (uniform(64, 4, 4, 1), tf.round(uniform(64, 4, 4, 1))):
        np.testing.assert_allclose(decode(flow, encode(flow, images)), images, atol=1e-5)


def test_estimates_of_log_densities_are_exact_on_average(flow):
    x = uniform(1, 4, 4, 1)
    (z,) = encode(flow, x)
    base = flow.get_layer("logits")
    exact = base([z], [tf.constant([log_det_of(lambda x: flat(encode(flow, x)), x)], tf.float32)])
    draws = log_densities(flow, x, draws=300, seed=seed())
    error = np.std(draws, axis=0) / math.sqrt(300)
    assert draws.shape == (300, 1, 3)
    assert np.all(abs(np.mean(draws, axis=0) - exact) < 3 * error)


def test_training_mode_draws_anew_for_other_images_and_inference_never(flow):
    x = uniform(2, 4, 4, 1)
    np.testing.assert_array_equal(flow(x, training=False), flow(x, training=False))
    layer = next(layer for layer in flow.layers if isinstance(layer, ResidualBlock))
    one, other = (np.mean([layer.estimate(x, s)[1] for s in split(seed(k), 3)]) for k in (1, 2))
    assert one != other


@pytest.mark.parametrize("coefficient", [1.0, 1.5, 0.0])
def test_blocks_that_are_no_contractions_are_refused_before_they_train(coefficient):
    with pytest.raises(ValueError, match="contractions"):
        residual_flow((8, 8, 1), 10, coefficient=coefficient)
    with pytest.raises(ValueError, match="coefficient"):
        replace(TrainConfig(), method="flow", net="residual_flow", flow_coefficient=coefficient)


def test_images_that_cannot_be_halved():
    with pytest.raises(ValueError, match="multiples of 2"):
        residual_flow((7, 7, 1), 10, levels=2)


def test_a_loaded_flow_gives_the_same_logits_and_samples(flow, tmp_path):
    flow.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    x = uniform(4, 4, 4, 1)
    np.testing.assert_array_equal(again(x), flow(x))
    np.testing.assert_array_equal(flow_samples(again)(LABELS, seed()), flow_samples(flow)(LABELS, seed()))


def test_it_is_attacked_as_any_net(flow):
    x = uniform(4, 4, 4, 1)
    for surrogate in (attacks.cross_entropy, attacks.joint_energy):
        loss_fn = surrogate(flow, LABELS)
        x_adv = pgd(loss_fn, x, seed=seed(), ball=Linf(0.1), step_size=0.05, num_steps=3)
        assert np.all(loss_fn(x_adv) > loss_fn(x))


@pytest.mark.slow
def test_training_on_digits_raises_their_log_density_and_draws_images(digit_arrays):
    keras.utils.set_random_seed(0)
    images, labels = digit_arrays
    net = residual_flow((8, 8, 1), 10, levels=1, depth=1, width=16)
    initialize_flow(net, images[:256] + (np.random.default_rng(0).random((256, 8, 8, 1), np.float32) - 0.5) / 16)
    model = EnergyClassifier(net, jt.methods.Flow(pixel_values=17))
    model.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    history = model.fit(images, labels, batch_size=64, epochs=5, verbose=0).history["nats"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0] - 0.2  # nats for each pixel
    assert is_flow(net)
    drawn = flow_samples(net)(tf.range(10), seed())
    assert drawn.shape == (10, 8, 8, 1)
    assert np.isfinite(drawn).all()
