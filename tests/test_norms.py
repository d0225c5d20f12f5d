import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from jeat_tf.core.balls import L2, Linf, ball_of
from tests.conftest import seed

X = tf.constant(np.random.default_rng(0).random((64, 4, 4, 2), np.float32))


class BallTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(Linf(0.1), L2(0.5))
    def test_random_starts_and_projections_are_inside(self, ball):
        self.assertLessEqual(np.max(ball.distance(ball.random_start(X, seed()), X)), ball.epsilon + 1e-6)
        far = X + tf.random.stateless_normal(X.shape, seed(1))
        self.assertLessEqual(np.max(ball.distance(ball.project(far, X), X)), ball.epsilon + 1e-6)

    @parameterized.parameters(Linf(0.1), L2(0.5))
    def test_projection_leaves_the_inside_alone(self, ball):
        near = X + 0.01
        np.testing.assert_allclose(ball.project(near, X), near, atol=1e-7)

    @parameterized.parameters(Linf(0.1), L2(0.5))
    def test_ascent_of_a_flat_image_is_finite(self, ball):
        self.assertAllEqual(ball.ascent(tf.zeros_like(X)), tf.zeros_like(X))


def test_l2_start_fills_the_ball_evenly():
    radius = L2(1.0).distance(L2(1.0).random_start(tf.zeros([4000, 1, 2, 1]), seed()), tf.zeros([4000, 1, 2, 1]))
    # In two dimensions half of the area lies beyond 1 / sqrt(2); 4,000 draws put the share within 0.03.
    assert abs(np.mean(radius > 2**-0.5) - 0.5) < 0.03


def test_l2_ascent_has_length_one():
    direction = L2(1.0).ascent(X)
    np.testing.assert_allclose(np.sqrt(np.sum(np.square(direction), (1, 2, 3))), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "epsilon"), [(Linf, 8), (Linf, -0.1), (L2, -1.0), (Linf, float("nan")), (L2, float("nan"))]
)
def test_bad_radius_is_refused(make, epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        make(epsilon)


def test_an_epsilon_of_eight_is_told_how_to_be_written():
    with pytest.raises(ValueError, match="write 8/255"):
        Linf(8)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)])
def test_a_ball_scales_and_keeps_its_norm(ball):
    assert ball.scaled(2) == type(ball)(2 * ball.epsilon)
    assert ball_of(ball.norm, ball.epsilon) == ball
