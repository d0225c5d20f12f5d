import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.metrics.ood import (
    constant,
    detection,
    gaussian_noise,
    histograms,
    interpolation,
    ood_scores,
    uniform_noise,
)
from tests.conftest import linear_net, seed, tiny_cnn

X = np.random.default_rng(0).random((11, 8, 8, 1), np.float32)


class TestScores:
    def test_of_a_linear_net_in_closed_form(self):
        keras.utils.set_random_seed(0)
        net = linear_net()
        scores = ood_scores(net, X)
        logits = np.asarray(net(X), np.float64)
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(scores["log_density"], np.log(np.exp(logits).sum(-1)), rtol=1e-6)
        np.testing.assert_allclose(scores["max_probability"], p.max(-1), rtol=1e-6)
        np.testing.assert_allclose(scores["max_logit"], logits.max(-1), rtol=1e-6)
        # d logsumexp f / dx = sum_k p_k w_k.
        slopes = p @ net.layers[-1].kernel.numpy().T
        np.testing.assert_allclose(scores["approximate_mass"], -np.linalg.norm(slopes, axis=-1), rtol=1e-5)

    def test_do_not_depend_on_the_batch_size(self):
        net = tiny_cnn(norm=True)
        together, apart = ood_scores(net, X), ood_scores(net, X, batch_size=4)
        for name in together:
            np.testing.assert_allclose(together[name], apart[name], rtol=1e-5, err_msg=name)

    def test_trace_the_net_once_for_batches_of_two_sizes(self):
        traces = []

        def net(x, training):
            traces.append(x.shape)
            return tf.reshape(x, [-1, 64])

        ood_scores(net, X, batch_size=4)
        # One image shows that they are logits; then twice in the one trace, for the gradient and for the logits.
        assert [list(shape) for shape in traces] == [[1, 8, 8, 1], *[[None, 8, 8, 1]] * 2]

    def test_confidences_near_one_are_not_ties(self):
        logits = tf.constant([[20.0, 0.0], [25.0, 0.0]])
        net = lambda x, training: tf.gather(logits, tf.cast(x[:, 0, 0, 0], tf.int32))  # noqa: E731
        low, high = ood_scores(net, np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1))["max_probability"]
        assert low < high < 1

    def test_bad_input_is_named(self):
        net = linear_net()
        with pytest.raises(ValueError, match="divide by 255"):
            ood_scores(net, X * 255)
        with pytest.raises(ValueError, match="finite"):
            ood_scores(net, np.full_like(X, np.nan))
        with pytest.raises(ValueError, match="at least 1 image"):
            ood_scores(net, X[:0])


class TestDetection:
    def test_complete_separation_is_perfect_and_the_reverse_is_nothing(self):
        assert detection([3.0, 4.0], [1.0, 2.0]) == (1.0, 1.0, 1.0, 0.0)
        backwards = detection([1.0, 2.0], [3.0, 4.0])
        assert (backwards.auroc, backwards.fpr_at_95_tpr) == (0.0, 1.0)

    def test_five_scores_with_a_tie_by_hand(self):
        result = detection([3.0, 2.0], [2.0, 1.0, 0.0])
        # Of six pairs five are in order and one ties.
        assert result.auroc == pytest.approx(5.5 / 6)
        # In: recall 1/2 at precision 1, then 1 at 2/3. Out, from below: 1/3 at 1, 2/3 at 1, 1 at 3/4.
        assert result.aupr_in == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
        assert result.aupr_out == pytest.approx(2 / 3 + 1 / 3 * 3 / 4)
        # All of the inside needs the threshold 2, which one of three outside reaches.
        assert result.fpr_at_95_tpr == pytest.approx(1 / 3)

    def test_one_constant_score_is_blind(self):
        assert detection(np.ones(2), np.ones(6)) == (0.5, 0.25, 0.75, 1.0)

    def test_one_in_twenty_of_the_inside_may_be_missed(self):
        inside = np.array([0.0] + [2.0] * 19)
        assert detection(inside, np.ones(7)).fpr_at_95_tpr == 0
        assert detection(inside[:-1], np.ones(7)).fpr_at_95_tpr == 1

    def test_auroc_is_the_share_of_pairs_in_order(self):
        rng = np.random.default_rng(0)
        inside, outside = rng.integers(0, 9, 40).astype(float), rng.integers(-3, 6, 30).astype(float)
        pairs = inside[:, None] - outside[None]
        assert detection(inside, outside).auroc == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="at least 2 scores in outside"):
            detection([1.0, 2.0], [1.0])
        with pytest.raises(ValueError, match="finite scores in inside, received 1 NaN"):
            detection([1.0, np.nan], [1.0, 2.0])


class TestHistograms:
    def test_share_their_edges_and_lose_no_score(self):
        result = histograms({"a": np.array([0.0, 1.0]), "b": np.array([3.0, 4.0, 4.0])}, num_bins=4)
        np.testing.assert_array_equal(result.edges, [0, 1, 2, 3, 4])
        np.testing.assert_array_equal(result.counts["a"], [1, 1, 0, 0])
        np.testing.assert_array_equal(result.counts["b"], [0, 0, 0, 3])

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="received 0 sets"):
            histograms({})
        with pytest.raises(ValueError, match="num_bins >= 1"):
            histograms({"a": np.zeros(2)}, num_bins=0)


class TestOutsideImages:
    SHAPE = (8, 8, 3)

    @pytest.mark.parametrize("make", [uniform_noise, gaussian_noise, constant])
    def test_are_pixels_that_their_seed_decides(self, make):
        images = make(50, self.SHAPE, seed())
        assert images.shape == (50, 8, 8, 3)
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
        np.testing.assert_array_equal(images, make(50, self.SHAPE, seed()))
        assert np.abs(images - make(50, self.SHAPE, seed(1))).max() > 0

    def test_have_the_spread_that_their_names_say(self):
        # Standard errors of the means are at most .005.
        uniform, gaussian = uniform_noise(50, self.SHAPE, seed()), gaussian_noise(50, self.SHAPE, seed())
        assert uniform.mean() == pytest.approx(0.5, abs=0.02)
        assert uniform.std() == pytest.approx(12**-0.5, abs=0.02)
        assert np.mean((gaussian == 0) | (gaussian == 1)) == pytest.approx(0.617, abs=0.02)
        assert np.ptp(constant(50, self.SHAPE, seed()), axis=(1, 2)).max() == 0

    def test_gaussian_noise_without_spread_is_its_mean(self):
        np.testing.assert_array_equal(gaussian_noise(2, self.SHAPE, seed(), mean=0.25, std=0.0), 0.25)

    def test_interpolations_are_midpoints_of_two_different_images(self):
        # Powers of two: a sum tells its two terms.
        images = np.tile(np.float32(2.0 ** -np.arange(8))[:, None, None, None], (1, 2, 2, 1))
        middle = interpolation(images, seed())
        sums = {float(a + b) / 2 for i, a in enumerate(images[:, 0, 0, 0]) for b in images[:i, 0, 0, 0]}
        assert {float(m) for m in middle[:, 0, 0, 0]} <= sums
        assert len({float(m) for m in middle[:, 0, 0, 0]}) == 8
        assert middle.sum() == pytest.approx(images.sum())

    def test_one_image_has_nothing_to_be_interpolated_with(self):
        with pytest.raises(ValueError, match="at least 2 images"):
            interpolation(X[:1], seed())
