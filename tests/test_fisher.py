import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.metrics.fisher import exact_trace, fisher_score, hutchinson_trace, piecewise_linear_trace
from tests.conftest import linear_net, seed, tiny_cnn

RNG = np.random.default_rng(0)
X = RNG.random((6, 8, 8, 1), np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])
MEANS = RNG.random((3, 64)).astype(np.float32)
few_probes = functools.partial(hutchinson_trace, num_probes=4)
many_probes = functools.partial(hutchinson_trace, num_probes=64)


def rows(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)


def bowls(a):
    """Logits -a / 2 |x - mean_k|^2: for a = 1 / variance an equal mixture of three Gaussians."""

    def net(x, training=False):
        return -a / 2 * tf.reduce_sum(tf.square(tf.reshape(x, [-1, 1, 64]) - MEANS), axis=-1)

    return net


def posterior(x, a):
    logits = np.asarray(bowls(a)(x), np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def smooth_net():
    """A net with batch normalisation and a curvature of its own."""
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3, activation="swish")(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))


def in_float64(layer):
    return type(layer).from_config(layer.get_config() | {"dtype": "float64"})


@pytest.mark.parametrize("trace", [exact_trace, few_probes], ids=["exact", "hutchinson"])
def test_a_quadratic_energy_in_closed_form(trace):
    # E(x, y) = a / 2 |x - mean_y|^2: gradient a (x - mean_y), Hessian a I, whose diagonal probes see without error.
    a = 3.0
    result = fisher_score(bowls(a), X, Y, trace=trace)
    squares = a**2 / 2 * np.sum((rows(X) - MEANS[Y]) ** 2, axis=-1)
    assert result.gradient_term == pytest.approx(squares.mean(), rel=1e-5)
    assert result.gradient_error == pytest.approx(squares.std(ddof=1) / np.sqrt(len(X)), rel=1e-5)
    assert result.trace_term == pytest.approx(-64 * a, rel=1e-5)
    assert result.score == pytest.approx(squares.mean() - 64 * a, rel=1e-5)
    assert result.probe_error == pytest.approx(0, abs=1e-4)
    assert result.trace_error == pytest.approx(0, abs=1e-3)


def test_a_mixture_of_gaussians_in_closed_form():
    # tr hess logsumexp = -D a + a^2 times the variance of the means over p(k | x).
    a = 0.5
    p = posterior(X, a)
    center = p @ MEANS
    spread = p @ np.sum(MEANS.astype(np.float64) ** 2, axis=-1) - np.sum(center**2, axis=-1)
    result = fisher_score(bowls(a), X)
    assert result.gradient_term == pytest.approx(np.mean(a**2 / 2 * np.sum((rows(X) - center) ** 2, -1)), rel=1e-5)
    assert result.trace_term == pytest.approx(np.mean(a**2 * spread - 64 * a), rel=1e-5)


def test_the_density_of_the_data_has_minus_its_gradient_term():
    # A Gaussian far inside [0, 1]^64: E[1/2 |grad E|^2] = D / (2 variance), tr hess E = D / variance.
    std = 0.05
    x = np.clip(0.5 + std * RNG.normal(size=(500, 8, 8, 1)), 0, 1).astype(np.float32)
    net = lambda x, training: -tf.reduce_sum(tf.square(x - 0.5), axis=[1, 2, 3])[:, None] / (2 * std**2)  # noqa: E731
    result = fisher_score(net, x, trace=few_probes)
    assert result.score == pytest.approx(-result.gradient_term, abs=8 * result.score_error)
    assert result.score == pytest.approx(-32 / std**2, abs=4 * result.score_error)


def test_a_linear_net_in_closed_form():
    keras.utils.set_random_seed(0)
    net = linear_net(num_classes=3)
    weights = net.layers[-1].kernel.numpy().astype(np.float64)
    joint = fisher_score(net, X, Y)
    assert joint.gradient_term == pytest.approx(np.mean(0.5 * np.sum(weights[:, Y] ** 2, axis=0)), rel=1e-5)
    assert joint.trace_term == 0
    assert joint.score == joint.gradient_term
    p = np.asarray(tf.nn.softmax(net(X)), np.float64)
    variance = p @ np.sum(weights**2, axis=0) - np.sum((p @ weights.T) ** 2, axis=-1)
    for trace in (exact_trace, piecewise_linear_trace):
        assert fisher_score(net, X, trace=trace).trace_term == pytest.approx(variance.mean(), rel=1e-4)


def test_the_error_of_the_probes_is_that_of_random_signs():
    # Each estimate has the variance 2 sum_{i != j} H_ij^2. 384 of them tell a standard deviation to about 5%.
    keras.utils.set_random_seed(0)
    net = linear_net(num_classes=3)
    weights, p = net.layers[-1].kernel.numpy(), tf.nn.softmax(net(X)).numpy()
    hessians = np.einsum("ik,nk,jk->nij", weights, p, weights) - np.einsum("ni,nj->nij", p @ weights.T, p @ weights.T)
    variances = 2 * np.sum((hessians * (1 - np.eye(64))) ** 2, axis=(1, 2))
    result = fisher_score(net, X, trace=many_probes)
    assert result.probe_error == pytest.approx(np.sqrt(variances.sum() / 64) / len(X), rel=0.2)


class TestPiecewiseLinearNet:
    @pytest.fixture(scope="class")
    def net(self):
        keras.utils.set_random_seed(1)
        return tiny_cnn(num_classes=3)

    def test_the_joint_trace_is_zero(self, net):
        for trace in (exact_trace, piecewise_linear_trace):
            assert fisher_score(net, X, Y, trace=trace).trace_term == 0

    def test_the_marginal_trace_needs_only_the_gradients_of_logits(self, net):
        by_hessian, by_classes = fisher_score(net, X), fisher_score(net, X, trace=piecewise_linear_trace)
        assert by_classes[:-1] == pytest.approx(by_hessian[:-1], rel=1e-4)
        assert by_classes.trace_term > 0
        assert by_classes.probe_error == 0

    def test_probes_are_within_their_error(self, net):
        exact, probed = fisher_score(net, X), fisher_score(net, X, trace=many_probes)
        assert probed.trace_term == pytest.approx(exact.trace_term, abs=3 * probed.probe_error)
        assert 0 < probed.probe_error < exact.trace_term
        assert probed.gradient_term == pytest.approx(exact.gradient_term, rel=1e-5)


class TestSmoothNet:
    X = RNG.random((5, 4, 4, 1), np.float32)
    Y = np.array([0, 1, 2, 1, 0])

    @pytest.mark.parametrize("labels", [None, Y], ids=["marginal", "joint"])
    def test_the_exact_trace_is_that_of_second_differences(self, labels):
        keras.utils.set_random_seed(2)
        net = smooth_net()
        for variable in net.weights:
            variable.assign(variable * 2 if "kernel" in variable.path else variable)
        net64 = keras.models.clone_model(net, clone_function=in_float64)
        net64.set_weights(net.get_weights())

        def energies(x):
            logits = net64(x, training=False).numpy()
            if labels is None:
                return -np.log(np.exp(logits).sum(-1))
            return -np.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]

        x, h = self.X.astype(np.float64), 1e-4
        axes = np.eye(16).reshape(16, 1, 4, 4, 1) * h
        differences = sum(energies(x + axis) + energies(x - axis) - 2 * energies(x) for axis in axes) / h**2
        result = fisher_score(net, self.X, labels)
        assert result.trace_term == pytest.approx(-differences.mean(), rel=1e-3)
        assert result.trace_error == pytest.approx(differences.std(ddof=1) / np.sqrt(5), rel=1e-3)


def test_the_seed_decides_the_probes_and_batches_do_not():
    net = linear_net()
    first, other = (fisher_score(net, X, trace=few_probes, seed=seed(s)) for s in (0, 1))
    assert first.trace_term != other.trace_term
    assert fisher_score(net, X, trace=few_probes, seed=seed(0), batch_size=4)[:-1] == pytest.approx(
        first[:-1], rel=1e-4
    )


def test_a_constant_energy_has_the_lowest_score_of_a_piecewise_linear_net():
    net = lambda x, training: tf.zeros([tf.shape(x)[0], 3])  # noqa: E731
    assert fisher_score(net, X, Y)[:-1] == (0.0,) * 7


def test_images_in_symmetric_units_have_a_quarter_of_the_score():
    keras.utils.set_random_seed(0)
    net = bowls(2.0)
    pixels = fisher_score(net, X, trace=many_probes)
    symmetric = pixels.symmetric()
    assert symmetric.units == "[-1, 1] pixels"
    assert symmetric[:-1] == tuple(value / 4 for value in pixels[:-1])
    # The same net as a function of u = 2 x - 1, whose derivatives are those at u.
    u_slope = tf.GradientTape()
    u = tf.constant(2 * X - 1)
    with u_slope:
        u_slope.watch(u)
        total = tf.reduce_sum(tf.reduce_logsumexp(net((u + 1) / 2), axis=-1))
    slopes = rows(u_slope.gradient(total, u))
    assert symmetric.gradient_term == pytest.approx(0.5 * np.sum(slopes**2, axis=-1).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"received one in \[-1, 1\]"):
        symmetric.symmetric()


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (X[:1], None, {}, "at least 2 images"),
        (X * 2, None, {}, r"images in \[0, 1\]"),
        (np.full_like(X, np.nan), None, {}, "finite"),
        (X, Y[:3], {}, "each of 6 images, received 3"),
        (X, Y + 8, {}, "labels in 0..9.*received 8..10"),
        (X, None, {"batch_size": 0}, "batch_size >= 1"),
        (X, None, {"trace": functools.partial(hutchinson_trace, num_probes=1)}, "num_probes >= 2.*received 1"),
    ],
)
def test_bad_input_is_named(images, labels, options, message):
    with pytest.raises(ValueError, match=message):
        fisher_score(linear_net(), images, labels, **options)
