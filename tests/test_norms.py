import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from jeat_tf.core.balls import L1, L2, Linf, ball_of, epsilon_text
from jeat_tf.core.l1 import inside_l1_ball, onto_plane, sparse_signs
from tests.conftest import seed

X = tf.constant(np.random.default_rng(0).random((64, 4, 4, 2), np.float32))


class BallTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(Linf(0.1), L2(0.5), L1(2.0))
    def test_random_starts_and_projections_are_inside(self, ball):
        self.assertLessEqual(np.max(ball.distance(ball.random_start(X, seed()), X)), ball.epsilon + 1e-6)
        far = X + tf.random.stateless_normal(X.shape, seed(1))
        self.assertLessEqual(np.max(ball.distance(ball.project(far, X), X)), ball.epsilon + 1e-6)
        inside = ball.inside(far, X).numpy()
        self.assertLessEqual(np.max(ball.distance(inside, X)), ball.epsilon + 1e-6)
        self.assertBetween(float(inside.min()), 0.0, 1.0)
        self.assertBetween(float(inside.max()), 0.0, 1.0)

    @parameterized.parameters(Linf(0.1), L2(0.5), L1(2.0))
    def test_projection_leaves_the_inside_alone(self, ball):
        near = X + 0.01
        np.testing.assert_allclose(ball.project(near, X), near, atol=1e-7)

    @parameterized.parameters(Linf(0.1), L2(0.5), L1(2.0))
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


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5), L1(2.0)])
def test_a_ball_scales_and_keeps_its_norm(ball):
    assert ball.scaled(2) == type(ball)(2 * ball.epsilon)
    assert ball_of(ball.norm, ball.epsilon) == ball


def test_l1_projection_is_the_nearest_image_of_the_ball():
    far = X + tf.random.stateless_normal(X.shape, seed(1))
    near = inside_l1_ball(far, X, 2.0).numpy()
    offset, size = near - X.numpy(), np.abs(far - X)
    # Optimal: all pixels that are neither 0 nor at the end of [0, 1] shrank by one amount, and those at 0 were smaller.
    np.testing.assert_allclose(np.abs(offset).sum((1, 2, 3)), 2.0, rtol=1e-5)
    for each in range(len(near)):
        free = (np.abs(offset[each]) > 1e-6) & (near[each] > 0) & (near[each] < 1)
        shrinkage = (size[each] - np.abs(offset[each]))[free]
        assert free.any()
        assert np.ptp(shrinkage) < 1e-5
        assert size[each][np.abs(offset[each]) < 1e-6].max() <= shrinkage.mean() + 1e-5


def test_l1_projection_on_a_plane_spends_its_length_on_the_steepest_pixels():
    x, slope = tf.constant([[[[0.5], [0.5], [0.5]]]]), tf.constant([[[[1.0], [-4.0], [2.0]]]])
    # <slope, x> is -0.5. To reach -2.9: the second pixel gives 2.0 for 0.5 of length, the third 0.4 for 0.2.
    move = onto_plane(x, slope, tf.constant([-2.9]))
    np.testing.assert_allclose(move.numpy().ravel(), [0, 0.5, -0.2], atol=1e-6)
    # Out of reach: all pixels at their ends.
    move = onto_plane(x, slope, tf.constant([-9.0]))
    np.testing.assert_allclose(move.numpy().ravel(), [-0.5, 0.5, -0.5], atol=1e-6)


def test_an_l1_step_moves_the_largest_gradients_alike_and_none_that_is_stuck():
    gradient = tf.constant([[[[3.0], [-5.0], [0.5], [4.0]]]])
    np.testing.assert_allclose(sparse_signs(gradient, tf.constant([2])).numpy().ravel(), [0, -0.5, 0, 0.5])
    x = tf.constant([[[[0.5], [0.0], [0.5], [0.5]]]])
    np.testing.assert_allclose(L1(1.0).ascent(gradient).numpy().ravel(), [0, -1, 0, 0])
    np.testing.assert_allclose(L1(1.0).ascent(gradient, x).numpy().ravel(), [0, 0, 0, 1])


def test_l1_start_fills_the_ball_evenly():
    x = tf.zeros([4000, 1, 2, 1])
    radius = L1(1.0).distance(L1(1.0).random_start(x, seed()), x)
    # In two dimensions half of the area lies beyond 1 / sqrt(2); 4,000 draws put the share within 0.03.
    assert abs(np.mean(radius > 2**-0.5) - 0.5) < 0.03


def test_radii_are_written_as_their_norm_is_published():
    balls = [Linf(8 / 255), Linf(0.3), L2(0.5), L2(1.0), L1(12), L1(51 / 255)]
    assert [epsilon_text(ball) for ball in balls] == ["8/255", "0.3", "0.5", "1", "12", "0.2"]


def test_an_l1_radius_that_looks_like_one_of_linf_is_asked_about():
    with pytest.raises(ValueError, match=r"did you mean Linf\(0.03\)"):
        L1(0.03)
    assert L1(0.0).epsilon == 0
