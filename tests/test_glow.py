import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf import attacks
from jeat_tf.attacks.pgd import pgd
from jeat_tf.core.balls import Linf
from jeat_tf.models.cnn import small_cnn
from jeat_tf.models.flow import (
    ActNorm,
    Center,
    ClassGaussians,
    Split,
    Squeeze,
    bits_per_dimension,
    decode,
    encode,
    flow_samples,
    initialize_flow,
)
from jeat_tf.models.glow import AffineCoupling, MixChannels, glow
from jeat_tf.models.precision import in_bfloat16
from tests.conftest import seed

LABELS = tf.constant([0, 1, 2, 1])


def uniform(*shape):
    return tf.random.stateless_uniform(shape, seed(1))


def moved(layer_or_net):
    """The same, with all its weights away from their first values, as after training."""
    rng = np.random.default_rng(0)
    for weight in layer_or_net.trainable_weights:
        weight.assign_add(rng.normal(0, 0.15, weight.shape))
    return layer_or_net


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    return moved(glow((4, 4, 1), 3, levels=2, depth=1, width=8))


def log_det_of(function, x):
    """log |det| of the whole Jacobian of images [1, ...] -> a tensor of the same size."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = tf.reshape(function(x), [-1])
    jacobian = tape.jacobian(y, x, experimental_use_pfor=False)
    return np.linalg.slogdet(np.reshape(jacobian, [len(y), -1]).astype(np.float64))[1]


def flat(parts):
    return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)


@pytest.mark.parametrize("make", [Center, Squeeze, ActNorm, MixChannels, lambda: AffineCoupling(8), Split])
def test_each_layer_knows_its_inverse_and_its_log_determinant(make):
    layer, x = make(), uniform(1, 2, 2, 4)
    layer(x)
    y, log_det = moved(layer)(x)
    np.testing.assert_allclose(layer.inverse(y), x, atol=1e-5)
    assert log_det.shape == (1,)
    parts = flat if isinstance(layer, Split) else tf.identity
    np.testing.assert_allclose(log_det[0], log_det_of(lambda x: parts(layer(x)[0]), x), atol=1e-4)


def test_a_log_density_is_that_of_the_latents_and_of_the_whole_jacobian(flow):
    x = uniform(1, 4, 4, 1)
    noise, z = encode(flow, x)
    base = flow.get_layer("logits")
    standard = (tf.reshape(z, [1, -1]) - base.mean) / tf.exp(base.log_std)
    log_p = -0.5 * tf.reduce_sum(standard**2, -1) - tf.reduce_sum(base.log_std, -1) - 0.5 * tf.reduce_sum(noise**2)
    log_p += log_det_of(lambda x: flat(encode(flow, x)), x) - 8 * math.log(2 * math.pi)
    np.testing.assert_allclose(flow(x)[0], log_p, atol=1e-3)


def test_images_come_back_from_their_latents(flow):
    for images in (uniform(64, 4, 4, 1), tf.round(uniform(64, 4, 4, 1))):
        np.testing.assert_allclose(decode(flow, encode(flow, images)), images, atol=1e-4)


def test_an_untrained_flow_is_a_gaussian_in_closed_form():
    # Couplings are the identity and 1x1 convolutions rotations: 2 x - 1 is standard normal.
    x = uniform(2, 8, 8, 1)
    log_p = tf.reduce_sum(-0.5 * (2 * x - 1) ** 2 - 0.5 * math.log(2 * math.pi) + math.log(2), axis=[1, 2, 3])
    logits = glow((8, 8, 1), 3, depth=1, width=4)(x)
    np.testing.assert_allclose(logits, np.tile(log_p[:, None], 3), rtol=1e-5)


def test_each_density_integrates_to_one():
    keras.utils.set_random_seed(0)
    net = moved(glow((2, 2, 1), 3, levels=1, depth=2, width=8))
    x = 0.5 + 1.0 * tf.random.stateless_normal([40_000, 2, 2, 1], seed())
    log_q = tf.reduce_sum(-0.5 * (x - 0.5) ** 2 - 0.5 * math.log(2 * math.pi), axis=[1, 2, 3])
    integrals = tf.reduce_mean(tf.exp(net(x) - log_q[:, None]), axis=0)
    np.testing.assert_allclose(integrals, 1.0, atol=0.05)  # 0.01 is the standard error of importance sampling


def test_tensorflow_probability_agrees_on_mixing_and_on_class_gaussians():
    import tensorflow_probability as tfp

    layer, pixels = MixChannels(), tf.eye(6)[:, None, None, :]
    layer(pixels)
    (matrix, log_det) = moved(layer)(pixels)
    diagonal = layer.sign * tf.exp(layer.log_scale)
    rows = tf.math.invert_permutation(tf.argmax(layer.permutation, axis=1, output_type=tf.int32))
    oracle = tfp.bijectors.ScaleMatvecLU(tf.linalg.set_diag(layer.triangles + 0.0, diagonal), rows)
    np.testing.assert_allclose(tf.transpose(oracle.forward(tf.eye(6))), matrix[:, 0, 0, :], atol=1e-5)
    np.testing.assert_allclose(log_det, np.full(6, oracle.forward_log_det_jacobian(tf.ones(6), 1)), atol=1e-5)

    base, z = ClassGaussians(3), uniform(5, 1, 1, 4)
    base([z], [tf.zeros(5)])
    moved(base)
    normal = tfp.distributions.MultivariateNormalDiag(base.mean.value, tf.exp(base.log_std))
    np.testing.assert_allclose(base([z], [tf.ones(5)]), normal.log_prob(z[:, 0]) + 1.0, rtol=1e-5)


def test_initialization_standardises_what_each_actnorm_gives():
    keras.utils.set_random_seed(0)
    net = glow((8, 8, 1), 3, depth=2, width=4)
    x = images = 0.2 * uniform(64, 8, 8, 1) ** 2
    initialize_flow(net, images)
    for step in net.layers[1:-1]:
        x, _ = step(x)
        x = x[0] if isinstance(step, Split) else x
        if isinstance(step, ActNorm):
            np.testing.assert_allclose(tf.reduce_mean(x, [0, 1, 2]), 0.0, atol=1e-4)
            np.testing.assert_allclose(tf.math.reduce_std(x, [0, 1, 2]), 1.0, atol=1e-3)


def test_a_loaded_flow_gives_the_same_logits_and_samples(flow, tmp_path):
    flow.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    x = uniform(4, 4, 4, 1)
    np.testing.assert_array_equal(again(x), flow(x))
    np.testing.assert_array_equal(flow_samples(again)(LABELS, seed()), flow_samples(flow)(LABELS, seed()))


def test_samples_are_pixels_that_follow_seed_label_and_temperature(flow):
    samples = flow_samples(flow)(LABELS, seed())
    assert samples.shape == (4, 4, 4, 1)
    assert samples.dtype == tf.float32
    assert np.min(samples) >= 0
    assert np.max(samples) <= 1
    assert np.any(samples != flow_samples(flow)(LABELS, seed(1)))
    np.testing.assert_array_equal(samples, flow_samples(flow)(tf.cast(LABELS, tf.int64), seed()))
    modes = flow_samples(flow, temperature=0.0)(LABELS, seed()).numpy()
    np.testing.assert_array_equal(modes[1], modes[3])
    assert np.any(modes[0] != modes[1])


def test_latents_of_samples_are_the_gaussians_of_their_class():
    base = ClassGaussians(2)
    base([tf.zeros([1, 1, 1, 2]), tf.zeros([1, 1, 1, 3])], [tf.zeros(1)])
    moved(base)
    noise, z = base.sample(tf.ones(20_000, tf.int32), seed(), temperature=0.5)
    for latents, mean, std in [(noise, [0, 0], [1, 1]), (z, base.mean[1], tf.exp(base.log_std[1]))]:
        np.testing.assert_allclose(tf.reduce_mean(latents, [0, 1, 2]), mean, atol=0.02)
        np.testing.assert_allclose(tf.math.reduce_std(latents, [0, 1, 2]), 0.5 * np.asarray(std), rtol=0.03)
    np.testing.assert_allclose(np.corrcoef(noise[:, 0, 0, 0], z[:, 0, 0, 0])[0, 1], 0.0, atol=0.03)


@pytest.mark.parametrize("net", [small_cnn((8, 8, 1), 10, widths=(4,)), None])
def test_samples_need_a_flow(net):
    with pytest.raises(ValueError, match="expected a flow"):
        flow_samples(net)


@pytest.mark.parametrize(("image_shape", "levels"), [((8, 6, 1), 2), ((7, 7, 1), 1), ((8, 8, 1), 0)])
def test_images_that_cannot_be_halved(image_shape, levels):
    with pytest.raises(ValueError, match="multiples of 2"):
        glow(image_shape, 10, levels=levels)


def test_a_flow_of_cifar_images_is_finite_and_invertible():
    net, x = glow((32, 32, 3), 10, levels=3, depth=1, width=4), uniform(2, 32, 32, 3)
    assert np.isfinite(net(x)).all()
    assert [z.shape[1:] for z in encode(net, x)] == [(16, 16, 6), (8, 8, 12), (4, 4, 48)]
    np.testing.assert_allclose(decode(net, encode(net, x)), x, atol=1e-5)


def test_training_on_digits_raises_their_log_density(digit_arrays):
    keras.utils.set_random_seed(0)
    images, labels = digit_arrays
    images = images + (np.random.default_rng(0).random(images.shape, np.float32) - 0.5) / 16
    net = glow((8, 8, 1), 10, levels=1, depth=1, width=16)
    initialize_flow(net, images[:256])

    def loss(labels, logits):
        return -tf.gather(logits, tf.cast(labels, tf.int32)[:, 0], batch_dims=1) / 64

    net.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    history = net.fit(images, labels[:, None], batch_size=64, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0] - 0.3  # nats for each pixel
    # Far from the data too the energy is moderate and the map invertible.
    noise = uniform(8, 8, 8, 1)
    assert np.min(net(noise)) > -1e5
    np.testing.assert_allclose(decode(net, encode(net, noise)), noise, atol=1e-4)


def test_compiled_gradients_are_finite_and_those_of_eager_mode(flow):
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(flow(x, training=True))
        return [loss, *tape.gradient(loss, [x, *(weight.value for weight in flow.trainable_weights)])]

    x = uniform(4, 4, 4, 1)
    for compiled, eager in zip(tf.function(gradients, jit_compile=True)(x), gradients(x), strict=True):
        assert np.isfinite(compiled).all()
        np.testing.assert_allclose(compiled, eager, rtol=1e-3, atol=1e-3)


def test_an_attack_raises_the_cross_entropy_of_a_flow(flow):
    x = uniform(4, 4, 4, 1)
    loss_fn = attacks.cross_entropy(flow, LABELS)
    x_adv = pgd(loss_fn, x, seed=seed(), ball=Linf(0.1), step_size=0.05, num_steps=3)
    assert np.all(loss_fn(x_adv) > loss_fn(x))


def test_a_copy_in_bfloat16_has_nearly_the_same_logits_in_float32(flow):
    x = uniform(4, 4, 4, 1)
    logits = in_bfloat16(flow)(x)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, flow(x), atol=0.3)
    assert np.any(logits != flow(x))


@pytest.mark.parametrize(
    ("log_p", "bin_width", "bits"),
    [(0.0, 1 / 256, 8), (0.0, 1 / 16, 4), (64 * math.log(256), 1 / 256, 0), (-64 * math.log(2), 1 / 16, 5)],
)
def test_bits_per_dimension_of_uniform_densities(log_p, bin_width, bits):
    # Density 1 on [0, 1], all mass in one bin, and density 1 / 2 on an interval of length 2.
    assert float(bits_per_dimension(tf.constant([log_p]), (8, 8, 1), bin_width=bin_width)[0]) == pytest.approx(bits)
