import itertools

import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.metrics.diversity import class_counts, within_class_distance, within_class_ssim
from tests.conftest import seed

RNG = np.random.default_rng(0)
X = RNG.random((40, 8, 8, 1), np.float32)
Y = np.arange(40) % 2


def test_a_class_of_one_image_repeated_has_ssim_one_and_distance_zero():
    images = np.stack([X[0], X[1]])[Y]
    similarity = within_class_ssim(images, Y, seed=seed())
    np.testing.assert_allclose(similarity.per_class, 1, atol=1e-6)
    assert similarity.mean == pytest.approx(1, abs=1e-6)
    distance = within_class_distance(images.reshape(40, -1), Y, seed=seed())
    np.testing.assert_array_equal(distance.per_class, 0)


def test_few_images_are_compared_in_all_pairs():
    images, labels = X[:7], np.array([5, 2, 5, 2, 5, 2, 5])
    result = within_class_ssim(images, labels, seed=seed())
    np.testing.assert_array_equal(result.classes, [2, 5])
    np.testing.assert_array_equal(result.num_pairs, [3, 6])
    for label, value in zip(result.classes, result.per_class, strict=True):
        pairs = itertools.combinations(images[labels == label], 2)
        expected = np.mean([tf.image.ssim(a, b, 1.0, filter_size=8) for a, b in pairs])
        assert value == pytest.approx(expected, abs=1e-5)
    assert result.mean == pytest.approx(result.per_class.mean())


def test_distances_by_hand_and_classes_count_the_same():
    features, labels = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), [0, 0, 1, 1, 1]
    result = within_class_distance(features, np.array(labels), seed=seed())
    np.testing.assert_allclose(result.per_class, [5, (1 + 2 + 1) / 3])
    assert result.mean == pytest.approx((5 + 4 / 3) / 2)


def test_random_pairs_never_compare_an_image_with_itself():
    # Distances of distinct rows are 1 or more.
    features = np.arange(40.0)[:, None]
    result = within_class_distance(features, np.zeros(40, int), seed=seed(), num_pairs=500)
    assert result.num_pairs.tolist() == [500]
    # With all 780 pairs the mean would be (n + 1) / 3 = 13.7; the standard error of 500 is 0.43.
    assert result.mean == pytest.approx(41 / 3, abs=1.5)
    ones = np.eye(40)
    assert within_class_distance(ones, np.zeros(40, int), seed=seed(), num_pairs=500).mean == pytest.approx(2**0.5)


def test_the_seed_decides_the_pairs_of_each_class():
    first, again, other = (within_class_ssim(X, Y, seed=seed(s), num_pairs=20) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.per_class, again.per_class)
    assert (first.per_class != other.per_class).all()
    alone = within_class_ssim(X[Y == 1], Y[Y == 1], seed=seed(), num_pairs=20)
    assert alone.mean == pytest.approx(first.per_class[1], abs=1e-6)


def test_counts_name_the_classes_that_are_left_out():
    np.testing.assert_array_equal(class_counts(np.array([0, 3, 3, 0, 3]), 5), [2, 0, 0, 3, 0])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least 2 images of each class, received 1 of class 7"):
        within_class_ssim(X[:3], np.array([2, 2, 7]), seed=seed())
    with pytest.raises(ValueError, match="received 40 and 39 labels"):
        within_class_ssim(X, Y[:-1], seed=seed())
    with pytest.raises(ValueError, match=r"images in \[0, 1\]"):
        within_class_ssim(X * 3, Y, seed=seed())
    with pytest.raises(ValueError, match="num_pairs >= 1"):
        within_class_ssim(X, Y, seed=seed(), num_pairs=0)
    with pytest.raises(ValueError, match="finite features"):
        within_class_distance(np.full((40, 3), np.nan), Y, seed=seed())
    with pytest.raises(ValueError, match="labels in 0..4.*received 0..5"):
        class_counts(np.array([0, 5]), 5)
    with pytest.raises(ValueError, match="at least 1 predicted label"):
        class_counts(np.zeros(0, int), 5)
