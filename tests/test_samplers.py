import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.pgd import pgd
from jeat_tf.attacks.surrogates import marginal_energy
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.loops import input_gradient
from jeat_tf.core.norms import gaussian_start
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.models.parts import split
from jeat_tf.samplers.class_statistics import class_components, class_statistics
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.metropolis import hmc, mala
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.sgld import sgld, split_sgld
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.start_layer import Given, class_gaussians, gaussian, mixture, uniform
from jeat_tf.samplers.starts import ClassComponents, ClassGaussians, Gaussian, Mixture, Uniform
from jeat_tf.samplers.values import (
    HMC,
    MALA,
    SAMPLERS,
    SGLD,
    Annealed,
    Contrast,
    Momentum,
    NormalizedDescent,
    SplitSGLD,
    Targeted,
)
from jeat_tf.samplers.walks import annealed, momentum, normalized, run
from tests.conftest import linear_net, seed, tiny_cnn


def bowl(x):
    return tf.reduce_sum(tf.square(x), axis=(1, 2, 3)) / 2


def test_stationary_variance_of_a_decoupled_chain():
    # x <- (1 - a) x + s N(0, 1) has variance s^2 / (1 - (1 - a)^2); 20,000 chains give it to about 1%.
    a, s = 0.3, 0.5
    x = sgld(bowl, tf.zeros([20_000, 1, 1, 1]), seed=seed(), step_size=a, noise_std=s, num_steps=200)
    assert np.var(x) == pytest.approx(s**2 / (1 - (1 - a) ** 2), rel=0.03)


def test_a_coupled_chain_samples_the_density_as_tfp_does():
    import tensorflow_probability as tfp

    alpha = 0.2
    ours = SGLD(100, alpha=alpha, clip_pixels=False)(bowl, tf.zeros([20_000, 1, 1, 1]), seed=seed())
    kernel = tfp.mcmc.UncalibratedLangevin(lambda x: -bowl(x), step_size=alpha)
    theirs = tfp.mcmc.sample_chain(
        1, tf.zeros([20_000, 1, 1, 1]), kernel=kernel, num_burnin_steps=99, trace_fn=None, seed=[0, 1]
    )
    assert np.var(ours) == pytest.approx(np.var(theirs), rel=0.03)


def test_without_noise_it_is_gradient_descent():
    x = tf.random.stateless_normal([3, 2, 2, 1], seed())
    np.testing.assert_allclose(
        sgld(bowl, x, seed=seed(), step_size=0.1, noise_std=0.0, num_steps=5), x * 0.9**5, rtol=1e-5
    )


def test_a_true_langevin_step_is_half_alpha_and_its_root():
    assert SGLD(alpha=0.04) == SGLD(step_size=0.02, noise_std=0.2)
    with pytest.raises(ValueError, match="alpha above 0"):
        SGLD(alpha=0.0)


def test_bounds_hold_at_every_step():
    x = sgld(
        lambda x: -bowl(x),
        tf.ones([8, 2, 2, 1]) * 0.5,
        seed=seed(),
        step_size=1.0,
        noise_std=0.5,
        num_steps=20,
        bounds=(0.0, 1.0),
    )
    assert np.min(x) >= 0
    assert np.max(x) <= 1


def test_the_published_inner_loop_of_jempp_is_the_proximal_chain():
    """JEM++ takes N = 5 steps of 0.2 on first-layer(x) . p with p held; that layer is linear, so N steps are one.

    Its code runs on [-1, 1] images with entries of the gradient clipped to 1 and pixels clipped after each step.
    """
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(6, 3, padding="same")
    inputs = keras.Input((8, 8, 1))
    rest = keras.layers.Dense(10)(keras.layers.Flatten()(keras.layers.LeakyReLU(0.2)(conv(inputs))))
    net = keras.Model(inputs, 8.0 * rest)  # steep enough that both clips are at work
    x = tf.random.stateless_uniform([4, 8, 8, 1], seed(), -1, 1)

    published = x
    for _ in range(10):
        with tf.GradientTape() as tape:
            first = conv(published)
            tape.watch(first)
            after = net.layers[2](first)
            for layer in net.layers[3:5]:
                after = layer(after)
            value = tf.reduce_sum(tf.reduce_logsumexp(8.0 * after, axis=-1))
        p = tape.gradient(value, first)
        for _ in range(5):
            step = input_gradient(lambda v, p=p: tf.reduce_sum(conv(v) * p, (1, 2, 3)), published)
            published = tf.clip_by_value(published + 0.2 * tf.clip_by_value(step, -1, 1), -1, 1)

    proximal = sgld(
        marginal_energy(net), x, seed=seed(), step_size=1.0, noise_std=0.0, num_steps=10, clip_gradient=1.0,
        bounds=(-1.0, 1.0),
    )  # fmt: skip
    assert np.max(np.abs(proximal - x)) > 0.5
    np.testing.assert_allclose(proximal, published, atol=1e-5)


def test_a_chain_without_noise_is_the_same_under_xla():
    net = tiny_cnn()
    x = tf.random.stateless_uniform([2, 8, 8, 1], seed())

    def run():
        return sgld(marginal_energy(net), x, seed=seed(), step_size=0.1, noise_std=0.0, num_steps=3)

    graph = tf.function(run, autograph=False)()
    np.testing.assert_allclose(graph, tf.function(run, autograph=False, jit_compile=True)(), atol=1e-5)


def test_class_gaussians_have_the_moments_of_their_class():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(2, 4, 4)) * 0.03
    labels = np.arange(4000) % 2
    images = 0.5 + 0.1 * labels[:, None] + np.einsum("nij,nj->ni", mixing[labels], rng.normal(size=(4000, 4)))
    start = class_gaussians(class_statistics(images.reshape(-1, 2, 2, 1).astype(np.float32), labels, 2))
    for k in range(2):
        drawn = np.reshape(start(tf.fill([8000], k), seed(k)), [-1, 4])
        np.testing.assert_allclose(drawn.mean(0), images[labels == k].mean(0), atol=0.005)
        # The start adds 1e-4 to each variance.
        expected = np.cov(images[labels == k], rowvar=False) + 1e-4 * np.eye(4)
        np.testing.assert_allclose(np.cov(drawn, rowvar=False), expected, atol=4e-4)


def test_class_gaussians_of_digits_are_pixels_of_the_label(digit_arrays):
    start = class_gaussians(class_statistics(*digit_arrays, 10))
    labels = np.arange(200) % 10
    drawn = start(tf.constant(labels), seed()).numpy()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    means = np.stack([digit_arrays[0][digit_arrays[1] == k].mean(0) for k in range(10)])
    nearest = np.argmin(np.sum((drawn[:, None] - means[None]) ** 2, axis=(2, 3, 4)), axis=1)
    assert np.mean(nearest == labels) > 0.8


def test_class_gaussians_need_two_images_of_a_class():
    with pytest.raises(ValueError, match="at least 2 images of each class"):
        class_statistics(np.zeros((3, 2, 2, 1), np.float32), np.array([0, 0, 1]), 2)


class TestWhatIsNoImageOrClassIsRefused:
    @pytest.mark.parametrize("describe", [class_statistics, class_components])
    def test_by_statistics_of_classes(self, describe):
        images, labels = two_classes(40)
        broken = images.copy()
        broken[3, 2] = np.nan
        with pytest.raises(ValueError, match="expected finite images"):
            describe(broken, labels, 2)
        with pytest.raises(ValueError, match=r"expected images in \[0, 1\], .*divide by 255"):
            describe(images * 255, labels, 2)
        with pytest.raises(ValueError, match=r"labels in 0\.\.1"):
            describe(images, labels + 1, 2)
        with pytest.raises(ValueError, match="a label for each of 40 images, received 39"):
            describe(images, labels[1:], 2)

    def test_by_class_gaussians(self):
        start = ClassGaussians().layer((6, 1, 1), 2)
        start.adapt(*two_classes(40))
        for labels in ([0, 2], np.array([-1]), tf.constant([5])):
            with pytest.raises(ValueError, match=r"labels in 0\.\.1"):
                start(labels, seed())
        assert tf.function(start, autograph=False)(tf.constant([1]), seed()).shape == (1, 6, 1, 1)

    def test_by_given_images(self):
        images = np.zeros((3, 1, 1, 1), np.float32)
        with pytest.raises(ValueError, match=r"labels among the classes of the images, received \[1, 7\]"):
            Given(images, np.array([0, 2, 2]))(tf.constant([7, 0, 1]), seed())
        with pytest.raises(ValueError, match="expected a label for each of 3 images, received 2"):
            Given(images, np.array([0, 2]))
        with pytest.raises(ValueError, match="expected at least 1 image, received none"):
            Given(images[:0])
        assert Given(images)(tf.constant([7]), seed()).shape == (1, 1, 1, 1)

    def test_by_generate(self, trained_net):
        stages = [Stage(lambda fn, x, *, seed: x)]
        for labels in ([12], np.array([3, -1])):
            with pytest.raises(ValueError, match=r"expected labels (in 0\.\.9|of 0 and above)"):
                generate(trained_net, labels, seed=seed(), start=uniform((8, 8, 1)), stages=stages)


def two_classes(count=4000, size=6):
    """Images of two classes on different lines through pixel space, with a little noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    lines = rng.normal(size=(2, size)) * 0.05
    flat = 0.5 + lines[labels] * rng.normal(size=(count, 1)) + rng.normal(size=(count, size)) * 0.02
    return flat.reshape(count, size, 1, 1).astype(np.float32), labels


class TestStatistics:
    def test_a_low_rank_and_its_diagonal_have_the_variances_and_the_leading_direction_of_the_class(self):
        images, labels = two_classes()
        start = class_gaussians(class_statistics(images, labels, 2, rank=1))
        for k in range(2):
            of_class = images[labels == k].reshape(-1, 6)
            drawn = np.reshape(start(tf.fill([20_000], k), seed(k)), [-1, 6])
            np.testing.assert_allclose(drawn.var(0), of_class.var(0, ddof=1) + 1e-4, rtol=0.06)
            first = [np.linalg.eigh(np.cov(x, rowvar=False))[1][:, -1] for x in (of_class, drawn)]
            assert abs(first[0] @ first[1]) > 0.99

    def test_a_full_rank_is_the_covariance_however_it_is_factored(self):
        images, labels = two_classes()
        full = class_statistics(images, labels, 2)
        ranked = class_statistics(images, labels, 2, rank=6)
        for k in range(2):
            expected = full.factors[k] @ full.factors[k].T
            got = ranked.factors[k] @ ranked.factors[k].T + np.diag(np.square(ranked.stds[k]))
            np.testing.assert_allclose(got, expected, atol=1e-6)

    def test_large_images_get_a_rank_by_themselves(self):
        rng = np.random.default_rng(0)
        images = rng.uniform(size=(12, 32, 32, 3)).astype(np.float32)
        statistics = class_statistics(images, np.arange(12) % 2, 2)
        assert statistics.factors.shape == (2, 3072, 256)

    @pytest.mark.parametrize("retained", [0.5, 0.95, 1.0])
    def test_components_hold_the_asked_share_of_the_variance_and_no_more_than_needed(self, retained):
        images, labels = two_classes()
        factors = class_components(images, labels, 2, retained=retained).factors
        for k in range(2):
            total = images[labels == k].reshape(-1, 6).var(0, ddof=1).sum()
            held = np.cumsum(np.square(factors[k]).sum(axis=0)) / total
            count = int(np.sum(np.any(factors[k] != 0, axis=0)))
            assert held[count - 1] >= retained - 1e-4
            assert count == 1 or held[count - 2] < retained

    def test_bad_ranks_and_shares(self):
        images, labels = two_classes(40)
        with pytest.raises(ValueError, match="rank in 1..6"):
            class_statistics(images, labels, 2, rank=7)
        with pytest.raises(ValueError, match="share of variance"):
            class_components(images, labels, 2, retained=1.5)


class TestStarts:
    @pytest.mark.parametrize("rank", [None, 2])
    def test_the_mixture_is_every_class_in_turn(self, rank):
        images, labels = two_classes()
        statistics = class_statistics(images, labels, 2, rank=rank)
        drawn = np.reshape(mixture(statistics)(tf.zeros([20_000], tf.int32), seed()), [-1, 6])
        np.testing.assert_allclose(drawn.mean(0), images.reshape(-1, 6).mean(0), atol=0.002)
        expected = np.cov(images.reshape(-1, 6), rowvar=False) + 1e-4 * np.eye(6)
        np.testing.assert_allclose(np.cov(drawn, rowvar=False), expected, atol=2e-4)

    def test_given_images_are_those_of_the_class(self):
        images = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 8
        drawn = Given(images, np.array([0, 1, 2, 0, 1, 2]))(tf.constant([2] * 50), seed())
        assert set(np.ravel(drawn).tolist()) == {0.25, 0.625}
        anyone = Given(images)(tf.constant([2] * 200), seed())
        assert len(np.unique(anyone)) == 6

    def test_gaussian_noise_is_about_mid_grey_and_in_range(self):
        x = gaussian((8, 8, 1))(tf.zeros([200], tf.int32), seed())
        assert np.mean(x) == pytest.approx(0.5, abs=0.01)
        assert (np.min(x), np.max(x)) == (0.0, 1.0)


def test_uniform_starts_fill_the_range():
    x = uniform((8, 8, 1))(tf.zeros([100], tf.int32), seed())
    assert x.shape == (100, 8, 8, 1)
    assert np.mean(x) == pytest.approx(0.5, abs=0.02)


class TestReplayBuffer:
    def buffer(self, size=20):
        return ReplayBuffer(size, Uniform(), image_shape=(2, 2, 1), num_classes=3)

    def test_slots_of_a_draw_are_all_different(self):
        x, slots, labels = self.buffer().draw(20, seed())
        assert sorted(slots.numpy()) == list(range(20))
        assert x.shape == (20, 2, 2, 1)

    def test_write_changes_its_slots_alone(self):
        buffer = self.buffer()
        before = buffer.images.numpy()
        buffer.write(tf.constant([3, 7]), tf.fill([2, 2, 2, 1], 9.0), tf.constant([True, False]))
        after = buffer.images.numpy()
        np.testing.assert_array_equal(after[[3, 7]], np.full((2, 2, 2, 1), 9.0))
        rest = np.setdiff1d(np.arange(20), [3, 7])
        np.testing.assert_array_equal(after[rest], before[rest])

    def test_age_counts_rounds_since_the_restart(self):
        buffer = self.buffer()
        for restarted in (False, False, True, False):
            buffer.write(tf.constant([5]), tf.zeros([1, 2, 2, 1]), tf.constant([restarted]))
        assert buffer.age.numpy()[5] == 2
        assert buffer.age.numpy().sum() == 2

    def test_it_is_filled_when_its_start_has_seen_data(self):
        images, labels = two_classes(40)
        buffer = ReplayBuffer(8, ClassGaussians(), image_shape=(6, 1, 1), num_classes=2, seed=3)
        assert not buffer.images.numpy().any()
        buffer.adapt(images, labels)
        drawn = class_gaussians(class_statistics(images, labels, 2))(tf.range(8) % 2, tf.constant([3, 1]))
        np.testing.assert_array_equal(buffer.images, drawn)


def test_generation_runs_its_stages_in_order_from_its_start(trained_net):
    labels = tf.range(10)
    plus = Stage(lambda fn, x, *, seed: x + 1)
    double = Stage(lambda fn, x, *, seed: x * 2)
    x = generate(
        trained_net, labels, seed=seed(), start=lambda labels, seed: tf.ones([10, 8, 8, 1]), stages=[plus, double]
    )
    np.testing.assert_array_equal(x, np.full((10, 8, 8, 1), 4.0))


def test_generation_lowers_the_energy_of_the_class_asked_for(trained_net):
    labels = tf.range(20) % 10
    stages = [Stage(SGLD(30, step_size=0.05))]
    x = generate(trained_net, labels, seed=seed(), start=Uniform().layer((8, 8, 1), 10), stages=stages)
    assert np.mean(np.argmax(trained_net(x), -1) == labels) == 1.0


IMAGES = tf.random.stateless_uniform([3, 2, 2, 1], seed(5))
PIXELS = (0.0, 1.0)
CHAIN = {"step_size": 0.1, "noise_std": 0.05}
BALL = Linf(0.2)
STANDS_FOR = {
    "sgld": (SGLD(7, **CHAIN), lambda e, x, s: sgld(e, x, seed=s, num_steps=7, bounds=PIXELS, **CHAIN)),
    "sgld, clipped gradient, open pixels": (
        SGLD(7, clip_gradient=0.3, clip_pixels=False, **CHAIN),
        lambda e, x, s: sgld(e, x, seed=s, num_steps=7, clip_gradient=0.3, **CHAIN),
    ),
    "momentum": (
        Momentum(7, decay=0.8, **CHAIN),
        lambda e, x, s: run(momentum(decay=0.8, bounds=PIXELS, **CHAIN), e, x, seed=s, num_steps=7),
    ),
    "annealed": (
        Annealed(7, 0.3, 0.01, 0.1, 0.001),
        lambda e, x, s: run(
            annealed(step_sizes=(0.3, 0.01), noise_stds=(0.1, 0.001), num_steps=7, bounds=PIXELS),
            e, x, seed=s, num_steps=7,
        ),
    ),
    "mala": (
        MALA(5, step_size=0.02, temperature=0.5),
        lambda e, x, s: run(mala(0.02, 0.5, PIXELS), e, x, seed=s, num_steps=5),
    ),
    "hmc": (
        HMC(5, step_size=0.1, leapfrog_steps=3, temperature=0.5),
        lambda e, x, s: run(hmc(0.1, 3, 0.5, PIXELS), e, x, seed=s, num_steps=5),
    ),
    "targeted": (
        Targeted(BALL, 5),
        lambda e, x, s: pgd(lambda x: -e(x), x, seed=s, ball=BALL, step_size=0.1, num_steps=5),
    ),
    "normalized": (
        NormalizedDescent(5, 0.1),
        lambda e, x, s: run(normalized(step_size=0.1, bounds=PIXELS), e, x, seed=s, num_steps=5),
    ),
    "contrast": (Contrast(0.9), lambda e, x, s: 0.5 + 0.9 * (x - 0.5)),
}  # fmt: skip


class TestValues:
    @pytest.mark.parametrize("name", STANDS_FOR)
    def test_a_call_is_the_function_that_it_stands_for(self, name):
        value, function = STANDS_FOR[name]
        x = value(bowl, IMAGES, seed=seed(3))
        np.testing.assert_array_equal(x, function(bowl, IMAGES, seed(3)))
        assert np.any(x != IMAGES)

    @pytest.mark.parametrize("name", ["sgld", "momentum", "annealed", "mala", "hmc", "normalized"])
    def test_a_chain_is_steps_of_its_walk(self, name):
        value, _ = STANDS_FOR[name]
        x = run(value.walk(), bowl, IMAGES, seed=seed(3), num_steps=value.steps)
        np.testing.assert_array_equal(value(bowl, IMAGES, seed=seed(3)), x)

    @pytest.mark.parametrize("start", ["random", "gaussian", "image"])
    def test_pgd_is_the_function(self, start):
        starts = {"random": BALL.random_start, "gaussian": gaussian_start, "image": None}
        x = PGD(BALL, 5, start=start)(bowl, IMAGES, seed=seed(3))
        expected = pgd(bowl, IMAGES, seed=seed(3), ball=BALL, step_size=0.1, num_steps=5, start=starts[start])
        np.testing.assert_array_equal(x, expected)

    def test_a_split_chain_is_the_function(self):
        stem, head = split(tiny_cnn())
        energy_fn = marginal_energy(head)
        x = tf.random.stateless_uniform([2, 8, 8, 1], seed())
        chain = SplitSGLD(4, step_size=1.0, inner_steps=3).through(stem, energy_fn, x, seed=seed(3))
        expected = split_sgld(
            stem, energy_fn, x, seed=seed(3), step_size=1.0, noise_std=0.005, num_steps=4, inner_steps=3, bounds=PIXELS
        )
        np.testing.assert_array_equal(chain, expected)
        assert np.any(chain != x)

    @pytest.mark.parametrize("name", sorted(set(STANDS_FOR) - {"contrast"}))
    def test_a_whole_number_is_a_seed(self, name):
        value, _ = STANDS_FOR[name]
        np.testing.assert_array_equal(value(bowl, IMAGES, seed=3), value(bowl, IMAGES, seed=tf.constant([0, 3])))

    @pytest.mark.parametrize(
        "sampler", [*(kind() for kind in SAMPLERS.values() if kind is not Contrast), PGD()], ids=repr
    )
    def test_a_net_in_place_of_an_energy_is_refused(self, sampler):
        with pytest.raises(ValueError, match="one number for each image, .*for a net pass"):
            sampler(linear_net(), tf.zeros([2, 8, 8, 1]), seed=0)


class TestNormalizedDescent:
    def test_it_is_pgd_without_a_ball(self):
        x = tf.random.stateless_uniform([20, 2, 2, 1], seed())
        free = pgd(lambda x: -bowl(x), x, seed=seed(), ball=L2(math.inf), step_size=0.1, num_steps=5)
        np.testing.assert_allclose(NormalizedDescent(5, 0.1)(bowl, x, seed=0), free, atol=1e-6)

    def test_it_goes_no_further_than_its_steps_and_down(self):
        x = tf.random.stateless_uniform([20, 2, 2, 1], seed())
        end = NormalizedDescent(4, 0.1)(bowl, x, seed=0)
        moved = np.linalg.norm(np.reshape(end - x, [20, -1]), axis=1)
        assert np.all(moved <= 0.4 + 1e-6)
        assert np.max(moved) == pytest.approx(0.4)  # straight towards the bottom
        assert np.all(bowl(end) < bowl(x))

    def test_the_scale_of_the_energy_does_not_matter(self):
        ends = [NormalizedDescent(4, 0.1)(lambda x, s=s: s * bowl(x), IMAGES, seed=0) for s in (1e-6, 1.0, 1e6)]
        for end in ends[1:]:
            np.testing.assert_allclose(end, ends[0], rtol=1e-5)

    def test_a_tensor_may_say_how_many_steps(self):
        descent = NormalizedDescent(40, 0.1)
        for steps in (0, 3):
            x = descent(bowl, IMAGES, seed=0, steps=tf.constant(steps))
            np.testing.assert_array_equal(x, NormalizedDescent(steps, 0.1)(bowl, IMAGES, seed=0))


DRAWS = {
    "uniform": (Uniform(), lambda images, labels: uniform((6, 1, 1))),
    "gaussian": (Gaussian(0.4, 0.1), lambda images, labels: gaussian((6, 1, 1), mean=0.4, std=0.1)),
    "class Gaussians": (ClassGaussians(), lambda *data: class_gaussians(class_statistics(*data, 2))),
    "class Gaussians of a rank": (ClassGaussians(2), lambda *data: class_gaussians(class_statistics(*data, 2, rank=2))),
    "mixture": (Mixture(), lambda *data: mixture(class_statistics(*data, 2))),
    "mixture of a rank": (Mixture(2), lambda *data: mixture(class_statistics(*data, 2, rank=2))),
}
COMPONENTS = {"sigma": None, "retained": 0.9, "noise_std": 0.01}


class TestStartLayer:
    @pytest.mark.parametrize("name", DRAWS)
    def test_it_draws_what_the_function_draws_of_the_same_statistics(self, name):
        images, labels = two_classes(60)
        start, function = DRAWS[name]
        layer = start.layer((6, 1, 1), 2)
        layer.adapt(images, labels)
        asked = tf.constant([1, 0, 1])
        np.testing.assert_array_equal(layer(asked, seed(3)), function(images, labels)(asked, seed(3)))

    def test_components_are_those_of_the_function_and_zeros(self):
        images, labels = two_classes(60)
        layer = ClassComponents(max_rank=5, **COMPONENTS).layer((6, 1, 1), 2)
        layer.adapt(images, labels)
        found = class_components(images, labels, 2, max_rank=5, **COMPONENTS)
        rank = found.factors.shape[-1]
        np.testing.assert_array_equal(layer.means, found.means)
        np.testing.assert_array_equal(layer.factors.numpy()[..., :rank], found.factors)
        assert not layer.factors.numpy()[..., rank:].any()
        x = layer(tf.zeros([4000], tf.int32), 0)
        of_class = images[labels == 0]
        np.testing.assert_allclose(np.mean(x, axis=0), of_class.mean(0), atol=0.01)

    def test_what_has_not_seen_data_does_not_draw(self):
        layer = ClassGaussians().layer((6, 1, 1), 2)
        assert not layer.adapted
        with pytest.raises(ValueError, match=r"received ClassGaussians\(\) which has not; call adapt"):
            layer([0, 1], 0)
        assert Uniform().layer((6, 1, 1), 2).adapted

    def test_labels_do_not_matter_where_it_does_not_go_by_them(self):
        assert Uniform().layer((6, 1, 1), 2)([7], 0).shape == (1, 6, 1, 1)

    def test_large_images_get_a_rank_by_themselves(self):
        layer = ClassGaussians().layer((32, 32, 3), 2)
        assert layer.factors.shape == (2, 3072, 256)
        assert layer.stds.shape == (2, 3072)

    @pytest.mark.parametrize("start", [ClassGaussians(), ClassGaussians(3), ClassComponents(), Mixture()], ids=repr)
    def test_a_model_that_holds_one_saves_what_it_has_learnt(self, start, digit_arrays, tmp_path):
        def model():
            return EnergyClassifier(linear_net(), JEM(start=start, buffer_size=20, chain=SGLD(1)))

        first, second = model(), model()
        first.adapt(*digit_arrays)
        first.save_weights(tmp_path / "model.weights.h5")
        assert not second.adapted
        second.load_weights(tmp_path / "model.weights.h5")
        assert second.adapted
        labels = tf.range(10)
        np.testing.assert_array_equal(second.start(labels, 3), first.start(labels, 3))
        np.testing.assert_array_equal(second.replay_buffer.images, first.replay_buffer.images)
        assert first.replay_buffer.images.numpy().any()
