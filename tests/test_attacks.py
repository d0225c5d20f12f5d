import functools

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.named import named
from jeat_tf.attacks.pgd import fgsm_beside_noise, pgd
from jeat_tf.attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy
from jeat_tf.attacks.values import FGSM, PGD
from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.loops import input_gradient
from tests.conftest import seed

LINF, EUCLID = Linf(0.1), L2(0.8)
ATTACKS = {
    "fgsm": (LINF, FGSM(LINF)),
    "fgsm_beside_noise": (LINF, functools.partial(fgsm_beside_noise, ball=LINF, bounds=(0.0, 1.0))),
    "fast": (LINF, functools.partial(pgd, ball=LINF, start=LINF.random_start, step_size=0.1, num_steps=1)),
    "pgd_linf": (LINF, functools.partial(pgd, ball=LINF, start=LINF.random_start, step_size=0.025, num_steps=10)),
    "pgd_l2": (EUCLID, functools.partial(pgd, ball=EUCLID, start=EUCLID.random_start, step_size=0.2, num_steps=10)),
}


@pytest.mark.parametrize("surrogate", [cross_entropy, joint_energy], ids=["cross_entropy", "joint_energy"])
@pytest.mark.parametrize("name", ATTACKS)
class TestEveryAttack:
    def attack(self, name, surrogate, net, arrays, seed_value=0):
        x, labels = tf.constant(arrays[0][:300]), tf.constant(arrays[1][:300])
        ball, attack = ATTACKS[name]
        return x, labels, ball, attack(surrogate(inference(net), labels), x, seed=seed(seed_value))

    def test_stays_in_ball_and_bounds(self, name, surrogate, trained_net, digit_arrays):
        x, _, ball, x_adv = self.attack(name, surrogate, trained_net, digit_arrays)
        assert np.max(ball.distance(x_adv, x)) <= ball.epsilon + 1e-6
        assert np.min(x_adv) >= 0
        assert np.max(x_adv) <= 1

    def test_lowers_accuracy(self, name, surrogate, trained_net, digit_arrays):
        x, labels, _, x_adv = self.attack(name, surrogate, trained_net, digit_arrays)
        clean, attacked = (np.mean(np.argmax(trained_net(v), -1) == labels) for v in (x, x_adv))
        assert attacked < clean - 0.1

    def test_is_a_function_of_its_seed(self, name, surrogate, trained_net, digit_arrays):
        *_, first = self.attack(name, surrogate, trained_net, digit_arrays)
        *_, second = self.attack(name, surrogate, trained_net, digit_arrays)
        np.testing.assert_array_equal(first, second)
        *_, other = self.attack(name, surrogate, trained_net, digit_arrays, seed_value=1)
        # FGSM draws nothing; E(x, y) of a linear net is linear, and PGD ends in its one corner from anywhere.
        same = name == "fgsm" or (name == "pgd_linf" and surrogate is joint_energy)
        assert np.array_equal(other, first) == same


class ExactTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.x = tf.random.stateless_uniform([5, 4, 4, 1], seed(), 0.3, 0.7)
        self.w = tf.random.stateless_normal([4, 4, 1], seed(1))

    def linear(self, x):
        return tf.reduce_sum(x * self.w, axis=(1, 2, 3))

    def test_pgd_reaches_the_corner_of_a_linear_loss(self):
        x_adv = pgd(self.linear, self.x, seed=seed(), ball=Linf(0.1), step_size=0.03, num_steps=10)
        self.assertAllClose(x_adv, self.x + 0.1 * tf.sign(self.w), atol=1e-6)

    def test_pgd_in_l2_reaches_the_surface_point_of_a_linear_loss(self):
        x_adv = pgd(self.linear, self.x, seed=seed(), ball=L2(0.2), step_size=0.1, num_steps=10)
        self.assertAllClose(x_adv, self.x + 0.2 * self.w / tf.norm(self.w), atol=1e-6)

    def test_zero_epsilon_leaves_x(self):
        for ball in (Linf(0.0), L2(0.0)):
            x_adv = pgd(
                self.linear, self.x, seed=seed(), ball=ball, start=ball.random_start, step_size=0.1, num_steps=3
            )
            self.assertAllEqual(x_adv, self.x)

    def test_pixels_are_left_alone_without_bounds(self):
        x_adv = pgd(self.linear, self.x, seed=seed(), ball=Linf(0.9), step_size=0.9, num_steps=1, bounds=None)
        self.assertAllClose(x_adv, self.x + 0.9 * tf.sign(self.w), atol=1e-6)

    def test_the_literal_attack_takes_its_gradient_at_x(self):
        peak = tf.constant(self.x.numpy() + 0.01)

        def bent(x):  # a loss whose gradient changes sign within the ball
            return -tf.reduce_sum(tf.square(x - peak), axis=(1, 2, 3))

        ball = Linf(0.1)
        x_adv = fgsm_beside_noise(bent, self.x, seed=seed(), ball=ball)
        noise = ball.random_start(self.x, seed()) - self.x
        expected = self.x + tf.clip_by_value(noise + 0.1, -0.1, 0.1)
        self.assertAllClose(x_adv, expected, atol=1e-6)


def test_the_energy_attack_is_fgsm_on_minus_the_logit(trained_net):
    x, labels = tf.random.stateless_uniform([20, 8, 8, 1], seed()), tf.range(20) % 10
    by_energy = FGSM(LINF)(joint_energy(trained_net, labels), x, seed=seed())
    by_hand = x + 0.1 * tf.sign(input_gradient(lambda x: -tf.gather(trained_net(x), labels, axis=1, batch_dims=1), x))
    np.testing.assert_allclose(by_energy, tf.clip_by_value(by_hand, 0, 1), atol=1e-6)


def test_the_energy_gradient_survives_a_saturated_softmax(trained_net, digit_arrays):
    x = tf.constant(digit_arrays[0][:50])
    labels = tf.argmax(trained_net(x), -1)  # certain of the label: its softmax is 1 in float32

    def sharp(x):
        return 1e4 * trained_net(x)

    masked = np.max(np.abs(input_gradient(cross_entropy(sharp, labels), x)))
    assert masked < 1e-6 * np.max(np.abs(input_gradient(joint_energy(sharp, labels), x)))  # rounding alone


def test_the_marginal_energy_ignores_labels(trained_net):
    x = tf.random.stateless_uniform([4, 8, 8, 1], seed())
    np.testing.assert_array_equal(marginal_energy(trained_net, tf.range(4))(x), marginal_energy(trained_net, None)(x))


def test_a_single_image_and_xla_give_the_same_attack(trained_net):
    x, labels = tf.random.stateless_uniform([1, 8, 8, 1], seed()), tf.constant([3])

    def run():
        return ATTACKS["pgd_linf"][1](cross_entropy(trained_net, labels), x, seed=seed())

    np.testing.assert_allclose(
        tf.function(run, autograph=False)(), tf.function(run, autograph=False, jit_compile=True)(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("attack", "restarts", "message"),
    [
        (PGD(LINF, steps=2, start="gaussian"), 1, 'start="image" or "random", received "gaussian"'),
        (PGD(LINF, steps=2, start="image"), 3, "with 3 restarts: from the image all are the same"),
    ],
)
def test_an_evaluation_starts_where_it_says(attack, restarts, message, trained_net, digit_arrays):
    x, labels = (array[:4] for array in digit_arrays)
    with pytest.raises(ValueError, match=message):
        attack.against(trained_net, x, labels, restarts=restarts)


@pytest.mark.parametrize("name", ["autoattackrand", "autoattack-", "autoattack_fast"])
def test_a_name_that_nearly_is_one_is_refused(name):
    with pytest.raises(ValueError, match=f'unknown attack "{name}"'):
        named(name, LINF)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fab_takes_images_of_any_float_type(dtype, trained_net, digit_arrays):
    x, labels = (array[:4] for array in digit_arrays)
    found = fab(trained_net, x.astype(dtype), labels, seed=seed(), ball=LINF, num_steps=2)
    assert found.broken.shape == (4,)
