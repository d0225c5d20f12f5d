"""Adversarial training in l2, in l1 and in a union of balls."""

import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks.msd import msd, worst_step
from jeat_tf.attacks.surrogates import cross_entropy, inference
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten, replace
from tests.conftest import seed, tiny_cnn

BALLS = (jt.Linf(0.1), jt.L2(0.8), jt.L1(4.0))


@pytest.fixture
def loss_and_images(trained_net, digit_arrays):
    x, labels = tf.constant(digit_arrays[0][:100]), tf.constant(digit_arrays[1][:100])
    return cross_entropy(inference(trained_net), labels), x


def shares(x_adv, x):
    """float[number of balls, B], the distance in each norm as a share of the radius."""
    return np.stack([ball.distance(x_adv, x) / ball.epsilon for ball in BALLS])


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
def test_every_iterate_lies_in_one_of_the_balls_and_in_the_pixels(steps, loss_and_images):
    loss, x = loss_and_images
    # The same seed and share: the iterate after so many steps of one chain.
    x_adv = msd(loss, x, seed=seed(), balls=BALLS, share=0.3, num_steps=steps)
    assert shares(x_adv, x).min(axis=0).max() <= 1 + 1e-5
    assert 0 <= np.min(x_adv) <= np.max(x_adv) <= 1
    assert np.max(np.abs(x_adv - x)) > 0


def test_a_step_is_the_worst_of_the_steps_in_each_ball(loss_and_images):
    loss, x = loss_and_images
    chosen = loss(worst_step(loss, x, x, balls=BALLS, share=0.5))
    alone = np.stack([loss(worst_step(loss, x, x, balls=[ball], share=0.5)) for ball in BALLS])
    np.testing.assert_allclose(chosen, alone.max(axis=0), rtol=1e-6)
    assert len(set(alone.argmax(axis=0))) > 1  # no norm is the worst for all images


def test_random_starts_are_spread_over_the_balls():
    x = tf.fill([300, 8, 8, 1], 0.5)
    linf, l2, l1 = shares(msd(None, x, seed=seed(), balls=BALLS, share=0.3, num_steps=0), x) <= 1 + 1e-5
    # In 64 dimensions a random point of the l2 ball is in neither of the others, one of the l1 ball not in l-inf's.
    for number in (linf.sum(), (l2 & ~l1 & ~linf).sum(), (l1 & ~linf).sum()):
        assert 70 < number < 130


def test_in_one_ball_it_is_pgd(loss_and_images):
    loss, x = loss_and_images
    alone = jt.attacks.MSD(linf=0.0, l2=0.8, l1=0.0, steps=4, start="image")(loss, x, seed=0)
    pgd = jt.attacks.PGD(jt.L2(0.8), steps=4, start="image")(loss, x, seed=0)
    np.testing.assert_allclose(alone, pgd, atol=1e-6)


def test_the_union_hurts_more_than_any_of_its_balls(loss_and_images):
    loss, x = loss_and_images
    worst = np.mean(loss(jt.attacks.MSD(linf=0.1, l2=0.8, l1=4.0, steps=10)(loss, x, seed=0)))
    for ball in BALLS:
        assert worst > 0.95 * np.mean(loss(jt.attacks.PGD(ball, steps=10)(loss, x, seed=0)))


def test_settings():
    config = replace(TrainConfig(), method="pgd_at", attack="msd", attack_linf=0.1, attack_l1=3.0, attack_steps=5)
    assert config.method.attack == jt.attacks.MSD(linf=0.1, l2=0.5, l1=3.0, steps=5)
    assert config.ball == jt.Linf()  # what robust accuracy is followed in
    assert flatten(config)["attack_l1"] == 3.0
    with pytest.raises(ValueError, match="expected a radius above 0"):
        jt.attacks.MSD(linf=0.0, l2=0.0, l1=0.0)
    with pytest.raises(ValueError, match="give the radii to MSD"):
        jt.methods.PGDAT(jt.attacks.MSD(), epsilon=0.1)


@pytest.mark.parametrize(
    "attack",
    [
        jt.attacks.PGD(jt.L1(3.0), steps=3),
        jt.attacks.PGD(jt.L2(0.5), steps=3),
        jt.attacks.MSD(linf=0.1, l2=0.5, l1=3.0, steps=3),
    ],
    ids=["l1", "l2", "union"],
)
def test_methods_train_on_it(attack, digit_arrays):
    for method in (jt.methods.PGDAT(attack), jt.methods.TRADES(attack)):
        model = jt.EnergyClassifier(tiny_cnn(), method)
        model.compile("adam")
        logs = model.fit(digit_arrays[0][:64], digit_arrays[1][:64], batch_size=32, epochs=1, verbose=0).history
        assert np.isfinite(logs["loss"]).all()
