import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from jeat_tf.metrics.neighbours import memorisation, nearest_l2, nearest_ssim, ssim

RNG = np.random.default_rng(0)
TRAIN = RNG.random((40, 8, 8, 1), np.float32)


class TestNearest:
    def test_in_features_is_what_sorting_all_distances_gives(self):
        queries, references = RNG.normal(size=(7, 5)), RNG.normal(size=(30, 5))
        distances = np.linalg.norm(queries[:, None] - references[None], axis=-1)
        order = np.argsort(distances, axis=1)[:, :4]
        result = nearest_l2(queries, references, k=4)
        np.testing.assert_array_equal(result.indices, order)
        np.testing.assert_allclose(result.distances, np.take_along_axis(distances, order, axis=1), rtol=1e-12)

    def test_in_pixels_has_the_distance_of_flat_images(self):
        query = np.clip(TRAIN[[3]] + 0.01, 0, 1)
        result = nearest_l2(query, TRAIN, k=2)
        assert result.indices[0, 0] == 3
        assert result.distances[0, 0] == pytest.approx(np.linalg.norm(query[0] - TRAIN[3]), rel=1e-6)

    @pytest.mark.parametrize("nearest", [nearest_l2, nearest_ssim])
    def test_a_copy_is_at_distance_zero(self, nearest):
        chosen = [5, 17, 5]
        result = nearest(TRAIN[chosen], TRAIN, k=3)
        np.testing.assert_array_equal(result.indices[:, 0], chosen)
        assert np.abs(result.distances[:, 0]).max() <= (0 if nearest is nearest_l2 else 1e-6)
        assert (np.diff(result.distances, axis=1) >= 0).all()

    def test_by_ssim_is_what_tensorflow_says_of_each_pair_whatever_the_blocks(self):
        queries, train = RNG.random((2, 8, 8, 1), np.float32), TRAIN[:10]
        pairs = [[tf.image.ssim(q, t, 1.0, filter_size=8).numpy() for t in train] for q in queries]
        for block_size in (7, 512):
            result = nearest_ssim(queries, train, k=10, block_size=block_size)
            # Which of the pixels are summed first differs.
            np.testing.assert_allclose(
                1 - result.distances, np.take_along_axis(np.array(pairs), result.indices, axis=1), atol=1e-5
            )

    def test_ssim_sees_structure_where_l2_sees_brightness(self):
        stripes = np.tile(np.float32([0.2, 0.6]), (1, 8, 4))[..., None]
        brighter, flat = stripes + 0.3, np.full_like(stripes, 0.4)
        references = np.concatenate([brighter, flat])
        assert nearest_l2(stripes, references, k=1).indices.item() == 1
        assert nearest_ssim(stripes, references, k=1).indices.item() == 0

    @pytest.mark.parametrize("nearest", [nearest_l2, nearest_ssim])
    def test_bad_input_is_named(self, nearest):
        with pytest.raises(ValueError, match=r"k in 1..40, received 2 queries and k = 41"):
            nearest(TRAIN[:2], TRAIN, k=41)
        with pytest.raises(ValueError, match=r"one shape, received \[.*\] and \["):
            nearest(TRAIN[:2, :4], TRAIN, k=1)
        with pytest.raises(ValueError, match=r"images in \[0, 1\]"):
            nearest(TRAIN[:2] * 2, TRAIN, k=1)
        with pytest.raises(ValueError, match="finite"):
            nearest(np.full_like(TRAIN, np.nan), TRAIN, k=1)
        with pytest.raises(ValueError, match="in queries, received none"):
            nearest(TRAIN[:0], TRAIN, k=1)

    def test_bad_features_and_blocks_are_named(self):
        with pytest.raises(ValueError, match="finite features in references"):
            nearest_l2(np.zeros((2, 3)), np.full((4, 3), np.inf), k=1)
        with pytest.raises(ValueError, match=r"features \[N, D\], received \[3\]"):
            nearest_l2(np.zeros(3), np.zeros((4, 3)), k=1)
        with pytest.raises(ValueError, match="block_size >= 1"):
            nearest_ssim(TRAIN, TRAIN, k=1, block_size=0)


def test_ssim_of_large_images_has_the_published_window():
    a, b = RNG.random((2, 2, 16, 16, 3), np.float32)
    np.testing.assert_array_equal(ssim(a, b), tf.image.ssim(a, b, 1.0))


class TestMemorisation:
    POINTS = RNG.random((900, 8)) * 0.5 + 0.25
    TRAIN, HELD_OUT, FRESH = POINTS[:300], POINTS[300:600], POINTS[600:]

    def test_copies_are_far_below_zero(self):
        result = memorisation(self.TRAIN[:200], self.TRAIN, self.HELD_OUT)
        assert result.z < -10
        assert result.p_value < 1e-30
        assert result.share_further == 0
        assert result.generated_distance == 0

    def test_copies_with_little_noise_are_found_too(self):
        noisy = self.TRAIN + 0.01 * RNG.normal(size=self.TRAIN.shape)
        assert memorisation(noisy, self.TRAIN, self.HELD_OUT).z < -10

    def test_fresh_draws_are_within_three_deviations(self):
        result = memorisation(self.FRESH, self.TRAIN, self.HELD_OUT)
        assert abs(result.z) < 3
        assert result.share_further == pytest.approx(0.5, abs=0.1)

    def test_far_images_are_far_above_zero(self):
        result = memorisation(self.FRESH + 1, self.TRAIN, self.HELD_OUT)
        assert result.z > 10
        assert result.share_further == 1
        assert result.generated_distance > result.held_out_distance

    def test_the_same_images_twice_are_exactly_at_zero(self):
        result = memorisation(self.HELD_OUT, self.TRAIN, self.HELD_OUT)
        assert (result.z, result.p_value, result.share_further) == (0, 0.5, 0.5)

    def test_z_is_the_one_behind_the_p_value_ties_included(self):
        train, held_out = np.zeros((2, 1)), np.array([[0.0], [1.0], [1.0], [3.0], [2.0]])
        result = memorisation(np.array([[0.0], [0.0], [1.0], [2.0]]), train, held_out)
        assert result.p_value == pytest.approx(scipy.stats.norm.cdf(result.z))
        # Of 20 pairs 4 have the generated one further and 5 tie.
        assert result.share_further == pytest.approx((4 + 5 / 2) / 20)

    def test_where_all_distances_are_equal_there_is_no_difference(self):
        result = memorisation(np.ones((3, 1)), np.zeros((2, 1)), np.ones((4, 1)))
        assert (result.z, result.p_value, result.share_further) == (0, 0.5, 0.5)

    def test_works_on_images(self):
        result = memorisation(TRAIN[:10], TRAIN[:20], TRAIN[20:])
        assert result.share_further == 0
        assert result.z < -3

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="at least 2 rows in held_out, received 1"):
            memorisation(TRAIN, TRAIN, TRAIN[:1])
        with pytest.raises(ValueError, match="one shape"):
            memorisation(self.TRAIN[:, :4], self.TRAIN, self.HELD_OUT)
