import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.core.loops import input_gradient
from jeat_tf.samplers import walks
from jeat_tf.samplers.metropolis import acceptance, hmc, mala
from jeat_tf.samplers.walks import langevin
from tests.conftest import seed

MANY = tf.zeros([20_000, 1, 1, 1])


def bowl(x):
    return tf.reduce_sum(tf.square(x), axis=(1, 2, 3)) / 2


def flat(x):
    return 0 * bowl(x)


def compiled(walk, energy_fn):
    """(x, memory, start, stop) -> (x, memory); None for the memory begins."""

    @tf.function(autograph=False)
    def run(x, memory, start, stop):
        return walk.advance(energy_fn, x, memory, seed=seed(), start=start, stop=stop)

    def steps(x, start, stop, memory=None):
        memory = walk.begin(energy_fn, x) if memory is None else memory
        return run(x, memory, tf.constant(start), tf.constant(stop))

    return steps


def steps(walk, energy_fn, x, start, stop):
    return compiled(walk, energy_fn)(x, start, stop)


def end_of(walk, energy_fn, x, num_steps):
    return steps(walk, energy_fn, x, 0, num_steps)[0].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.25])
@pytest.mark.parametrize("walk", [lambda t: mala(1.5 * t, t), lambda t: hmc(0.6 * t**0.5, 3, t)], ids=["mala", "hmc"])
def test_a_gaussian_has_the_temperature_as_its_variance_even_at_large_steps(walk, temperature):
    x = end_of(walk(temperature), bowl, MANY, 30)
    assert np.mean(x) == pytest.approx(0, abs=4 * (temperature / 20_000) ** 0.5)
    assert np.var(x) == pytest.approx(temperature, rel=0.04)  # four standard errors of a variance of 20,000


def test_without_the_acceptance_step_the_same_steps_are_too_wide():
    # x <- (1 - a/2) x + sqrt(a) N has variance a / (1 - (1 - a/2)^2) = 1.6 at a = 1.5.
    x = end_of(langevin(step_size=0.75, noise_std=1.5**0.5), bowl, MANY, 30)
    assert np.var(x) == pytest.approx(1.6, rel=0.04)


def test_on_a_flat_energy_every_step_is_taken():
    _, memory = steps(mala(0.1), flat, tf.zeros([3, 2, 2, 1]), 0, 5)
    np.testing.assert_array_equal(acceptance(memory), [1, 1, 1])


def test_the_share_of_steps_taken_is_that_of_the_images_that_moved():
    walk, x, moved = mala(3.0), tf.zeros([200, 2, 2, 1]), np.zeros(200)
    memory, step = walk.begin(bowl, x), compiled(walk, bowl)
    np.testing.assert_array_equal(acceptance(memory), np.zeros(200))
    for i in range(3):
        before, (x, memory) = x, step(x, i, i + 1, memory)
        moved += np.any(before != x, axis=(1, 2, 3))
    assert 0.05 < np.mean(moved) / 3 < 0.95
    np.testing.assert_allclose(acceptance(memory), moved / 3, rtol=1e-6)


@pytest.mark.parametrize("walk", [mala(1e6), hmc(1e3, 2)], ids=["mala", "hmc"])
def test_a_far_too_large_step_never_moves(walk):
    x = tf.random.stateless_normal([8, 4, 4, 1], seed())
    end, memory = steps(walk, bowl, x, 0, 10)
    np.testing.assert_array_equal(end, x)
    np.testing.assert_array_equal(acceptance(memory), np.zeros(8))


@pytest.mark.parametrize("walk", [mala(0.3, 1.0, (0.0, 1.0)), hmc(0.4, 2, 1.0, (0.0, 1.0))], ids=["mala", "hmc"])
def test_bounds_hold_and_the_density_inside_them_is_the_one_asked_for(walk):
    x = end_of(walk, lambda x: 4 * tf.reduce_sum(x, axis=(1, 2, 3)), tf.zeros([10_000, 1, 1, 1]), 40)
    assert x.min() >= 0
    assert x.max() <= 1
    # The exponential distribution of rate 4, cut off at 1.
    mean = 1 / 4 - 1 / np.expm1(4)
    assert x.mean() == pytest.approx(mean, abs=0.01)
    assert x.var() == pytest.approx(1 / 16 - np.exp(4) / np.expm1(4) ** 2, rel=0.08)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)])
def test_a_far_too_large_step_stays_inside_the_bounds(bounds):
    x = end_of(mala(1e4, 1.0, bounds), flat, tf.zeros([50, 4, 4, 1]), 5)
    assert x.min() >= bounds[0]
    assert x.max() <= bounds[1]
    assert x.mean() == pytest.approx(np.mean(bounds), abs=0.1 * (bounds[1] - bounds[0]))


def test_black_and_white_images_move_as_easily_as_grey_ones():
    x = tf.cast(tf.random.stateless_uniform([10, 8, 8, 1], seed()) > 0.5, tf.float32)
    end, memory = steps(mala(1e-3, 1.0, (0.0, 1.0)), flat, x, 0, 5)
    np.testing.assert_array_equal(acceptance(memory), np.ones(10))
    assert np.std(end - x) > 0.02


def test_an_image_is_taken_or_refused_on_its_own():
    """One image at the bottom of a steep bowl, the others on flat ground: it stays, they move."""
    steep = tf.constant([1e12, 0.0, 0.0])
    _, memory = steps(mala(0.1), lambda x: steep * bowl(x), tf.zeros([3, 2, 2, 1]), 0, 5)
    np.testing.assert_array_equal(acceptance(memory), [0, 1, 1])


@pytest.mark.parametrize("walk", [mala(0.5), hmc(0.4, 3)], ids=["mala", "hmc"])
def test_a_chain_cut_into_segments_is_the_chain_in_one_go(walk):
    x = tf.random.stateless_normal([6, 2, 2, 1], seed(1))
    run = compiled(walk, bowl)
    whole, whole_memory = run(x, 0, 7)
    part, memory = run(x, 0, 3)
    part, memory = run(part, 3, 7, memory)
    assert np.max(np.abs(whole - x)) > 0.1
    np.testing.assert_array_equal(whole, part)
    np.testing.assert_array_equal(acceptance(whole_memory), acceptance(memory))


@pytest.mark.parametrize("walk", [mala(0.5), hmc(0.4, 3)], ids=["mala", "hmc"])
def test_a_graph_gives_the_same_images_and_a_new_batch_size_no_new_trace(walk):
    chain = tf.function(
        lambda x: walks.run(walk, bowl, x, seed=seed(), num_steps=3),
        autograph=False,
        input_signature=[tf.TensorSpec([None, 2, 2, 1])],
    )
    for count in (3, 5):
        x = tf.random.stateless_normal([count, 2, 2, 1], seed(1))
        eager = walks.run(walk, bowl, x, seed=seed(), num_steps=3)
        np.testing.assert_allclose(chain(x), eager, rtol=1e-5, atol=1e-6)
    assert chain.experimental_get_tracing_count() == 1


def test_a_small_step_is_a_langevin_step():
    x, small = tf.random.stateless_normal([4, 2, 2, 1], seed(1)), 1e-4
    end, memory = steps(mala(small), bowl, x, 0, 1)
    drift = -small / 2 * input_gradient(bowl, x)
    assert np.min(acceptance(memory)) == 1
    assert np.std(end - x - drift) == pytest.approx(small**0.5, rel=0.5)


def test_what_cannot_walk_is_refused():
    for make in (lambda: mala(0.0), lambda: mala(0.1, -1.0), lambda: hmc(float("nan"), 3)):
        with pytest.raises(ValueError, match="above 0"):
            make()
    with pytest.raises(ValueError, match="at least 1 leapfrog step"):
        hmc(0.1, 0)
