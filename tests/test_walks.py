import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.samplers.sgld import sgld
from jeat_tf.samplers.stages import parse_stages
from jeat_tf.samplers.values import SGLD, Annealed, Momentum, NormalizedDescent, SplitSGLD
from jeat_tf.samplers.walks import annealed, langevin, momentum, projected, run, stopping
from tests.conftest import seed

WALKS = {
    "langevin": langevin(step_size=0.1, noise_std=0.05),
    "proximal": langevin(step_size=1.0, noise_std=0.0, clip_gradient=0.01, bounds=(0.0, 1.0)),
    "momentum": momentum(step_size=0.1, noise_std=0.05, decay=0.8),
    "annealed": annealed(step_sizes=(0.3, 0.01), noise_stds=(0.1, 0.001), num_steps=12),
    "stopping": stopping(momentum(step_size=0.1, noise_std=0.3, decay=0.8), 2),
    "projected": projected(momentum(step_size=0.1, noise_std=0.05), lambda x: tf.clip_by_value(x, 0.2, 0.4)),
}


def bowl(x):
    return tf.reduce_sum(tf.square(x), axis=(1, 2, 3)) / 2


def images():
    return tf.random.stateless_uniform([3, 2, 2, 1], seed(5))


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_a_walk_cut_in_two_is_the_walk_in_one_go(walk):
    whole = run(walk, bowl, images(), seed=seed(), num_steps=12)
    x, memory = walk.advance(bowl, images(), walk.begin(bowl, images()), seed=seed(), start=0, stop=5)
    x, _ = walk.advance(bowl, x, memory, seed=seed(), start=5, stop=12)
    np.testing.assert_array_equal(x, whole)
    assert np.any(whole != images())


def test_sgld_is_the_chain_of_langevin():
    steps = {"step_size": 0.1, "noise_std": 0.05}
    chain = run(langevin(**steps), bowl, images(), seed=seed(), num_steps=7)
    np.testing.assert_array_equal(sgld(bowl, images(), seed=seed(), num_steps=7, **steps), chain)


def test_momentum_without_memory_is_langevin():
    same = {"step_size": 0.1, "noise_std": 0.05}
    chains = [
        run(walk, bowl, images(), seed=seed(), num_steps=7) for walk in (momentum(decay=0.0, **same), langevin(**same))
    ]
    np.testing.assert_array_equal(*chains)


def test_momentum_follows_its_recurrence():
    walk = momentum(step_size=0.1, noise_std=0.0, decay=0.5)
    x = run(walk, bowl, images(), seed=seed(), num_steps=3)
    position, velocity = images().numpy(), 0.0
    for _ in range(3):
        velocity = 0.5 * velocity + position
        position = position - 0.1 * velocity
    np.testing.assert_allclose(x, position, rtol=1e-6)


def test_annealed_steps_are_in_equal_ratios():
    walk = annealed(step_sizes=(0.4, 0.1), noise_stds=(0, 0), num_steps=3)
    x = run(walk, bowl, images(), seed=seed(), num_steps=4)
    np.testing.assert_allclose(x, images() * (1 - 0.4) * (1 - 0.2) * (1 - 0.1) ** 2, rtol=1e-5)


def test_annealed_between_equal_values_is_langevin():
    same = annealed(step_sizes=(0.1, 0.1), noise_stds=(0.05, 0.05), num_steps=5)
    plain = langevin(step_size=0.1, noise_std=0.05)
    chains = [run(walk, bowl, images(), seed=seed(), num_steps=5) for walk in (same, plain)]
    np.testing.assert_allclose(*chains, rtol=1e-6)


def test_there_is_no_ratio_to_zero():
    with pytest.raises(ValueError, match="last_step_size"):
        Annealed(last_step_size=0.0)
    for given in ({"noise_std": 0.0}, {"last_noise_std": 0.0}):
        with pytest.raises(ValueError, match="noise_std and last_noise_std both above 0 or both 0"):
            Annealed(**given)
    Annealed(noise_std=0.0, last_noise_std=0.0).walk()


def test_a_projected_walk_meets_its_condition():
    x = run(WALKS["projected"], bowl, images(), seed=seed(), num_steps=12)
    assert np.min(x) >= 0.2
    assert np.max(x) <= 0.4


def test_an_image_stops_where_its_energy_was_lowest_and_others_go_on():
    steepness = tf.constant([2.5, 0.1, 0.1])  # steps of 2.5 overshoot a bowl more and more

    def bowls(x):
        return steepness * bowl(x)

    walk = stopping(langevin(step_size=1.0, noise_std=0.0), 3)
    x = run(walk, bowls, images(), seed=seed(), num_steps=20)
    np.testing.assert_array_equal(x[0], images()[0])
    np.testing.assert_allclose(x[1:], 0.9**20 * images()[1:], rtol=1e-4)


def test_no_steps_are_taken_once_all_images_have_stopped():
    looks = []

    def flat(x):
        looks.append(1)
        return tf.zeros(3)

    run(stopping(langevin(step_size=1.0, noise_std=0.1), 4), flat, images(), seed=seed(), num_steps=50)
    assert len(looks) == 1 + 2 * 4  # the first energy; a gradient and an energy for each step until patience ends


@pytest.mark.parametrize("chain", [SGLD, NormalizedDescent, Momentum, Annealed])
def test_patience_is_a_field_of_every_chain_that_descends(chain):
    # Noise, or steps of one length, keep the end of a chain above its lowest energy.
    plain, patient = (chain(60, step_size=0.3, patience=patience) for patience in (None, 3))
    ends = [bowl(sampler(bowl, images(), seed=0)) for sampler in (plain, patient)]
    lowest = run(stopping(plain.walk(), 3), bowl, images(), seed=tf.constant([0, 0]), num_steps=60)
    np.testing.assert_allclose(ends[1], bowl(lowest))
    assert "patience" not in repr(plain)


def test_patience_on_the_command_line_and_where_it_cannot_be():
    (stage,) = parse_stages("sgld:steps=200,patience=10")
    assert stage.sampler == SGLD(200, patience=10)
    assert "patience=10" in stage.words()
    assert "patience" not in parse_stages("sgld:steps=200")[0].words()
    with pytest.raises(ValueError, match="cannot stop"):
        SplitSGLD(patience=2)
