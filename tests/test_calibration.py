import numpy as np
import pytest

from jeat_tf.metrics.confidence import calibration


def of_probabilities(p):
    return np.log(np.asarray(p, np.float64))


def two_classes(confidence):
    """Logits that predict class 0 with these confidences."""
    return of_probabilities([[p, 1 - p] for p in confidence])


def random_case(n=500, k=4):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, k)).astype(np.float32) * 2, rng.integers(0, k, n)


def test_five_examples_counted_by_hand():
    # Bins of width 1/5: .65 and .75 share [.6, .8), the others share [.8, 1]; one of two and two of three are right.
    result = calibration(two_classes([0.65, 0.75, 0.85, 0.9, 0.95]), np.array([0, 1, 0, 0, 1]), num_bins=5)
    np.testing.assert_array_equal(result.bin_count, [0, 0, 0, 2, 3])
    np.testing.assert_allclose(result.bin_confidence, [np.nan, np.nan, np.nan, 0.7, 0.9], rtol=1e-12)
    np.testing.assert_allclose(result.bin_accuracy, [np.nan, np.nan, np.nan, 1 / 2, 2 / 3], rtol=1e-12)
    np.testing.assert_allclose(result.edges, [0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert result.accuracy == 3 / 5
    assert result.ece == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (0.9 - 2 / 3))
    assert result.max_error == pytest.approx(0.9 - 2 / 3)
    assert result.nll == pytest.approx(-np.mean(np.log([0.65, 0.25, 0.85, 0.9, 0.05])))
    assert result.brier == pytest.approx(2 * np.mean(np.square([0.35, 0.75, 0.15, 0.1, 0.95])))


def test_bins_of_equal_count_by_hand():
    # Quantile bins {.6, .7}, {.8, .9}: gaps |.65 - 1| and |.85 - 1/2|.
    result = calibration(two_classes([0.6, 0.7, 0.8, 0.9]), np.array([0, 0, 0, 1]), num_bins=2)
    assert result.adaptive_ece == pytest.approx(0.35)


def test_images_of_equal_confidence_share_an_adaptive_bin_in_any_order():
    labels = np.array([0, 1, 0, 1, 0, 1])
    logits = two_classes([0.8] * 6)
    for order in ([0, 1, 2, 3, 4, 5], [0, 2, 4, 1, 3, 5]):
        assert calibration(logits, labels[order], num_bins=3).adaptive_ece == pytest.approx(0.3)


def test_a_perfect_calibration_has_no_error():
    result = calibration(two_classes([0.6] * 5), np.array([0, 0, 0, 1, 1]))
    assert result.ece == pytest.approx(0, abs=1e-12)
    assert result.adaptive_ece == pytest.approx(0, abs=1e-12)
    assert result.max_error == pytest.approx(0, abs=1e-12)


def test_ece_agrees_with_tensorflow_probability():
    import tensorflow_probability as tfp

    logits, labels = random_case()
    for num_bins in (1, 10, 15):
        expected = tfp.stats.expected_calibration_error(num_bins, logits, labels.astype(np.int32))
        # float32 against float64.
        assert calibration(logits, labels, num_bins=num_bins).ece == pytest.approx(float(expected), abs=1e-6)


def test_nll_and_brier_agree_with_scikit_learn():
    import scipy.special
    from sklearn.metrics import brier_score_loss, log_loss

    logits, labels = random_case()
    p = scipy.special.softmax(logits.astype(np.float64), axis=-1)
    result = calibration(logits, labels)
    assert result.nll == pytest.approx(log_loss(labels, p), rel=1e-10)
    assert result.brier == pytest.approx(brier_score_loss(labels, p, scale_by_half=False), rel=1e-10)


def test_one_bin_compares_mean_confidence_with_accuracy():
    logits, labels = random_case()
    result = calibration(logits, labels, num_bins=1)
    assert result.ece == pytest.approx(abs(result.accuracy - result.bin_confidence[0]))
    assert result.ece == result.adaptive_ece == result.max_error


def test_a_saturated_net_is_counted_in_the_last_bin():
    result = calibration(np.array([[500.0, -500.0], [-500.0, 500.0]]), np.array([0, 0]))
    assert result.bin_count[-1] == 2
    assert (result.ece, result.nll, result.brier) == (0.5, 500.0, 1.0)


@pytest.mark.parametrize(
    ("logits", "labels", "num_bins", "message"),
    [
        (np.zeros((2, 3)), [0, 3], 15, r"labels in 0..2.*received 0..3"),
        (np.zeros((2, 3)), [0], 15, "each of 2 rows of logits, received 1"),
        (np.full((2, 3), np.nan), [0, 1], 15, "finite logits"),
        (np.zeros((2, 1)), [0, 0], 15, r"K >= 2, received shape \[2, 1\]"),
        (np.zeros((0, 3)), np.zeros(0, int), 15, "N >= 1"),
        (np.zeros((2, 3)), [0, 1], 0, "num_bins >= 1, received 0"),
    ],
)
def test_bad_input_is_named(logits, labels, num_bins, message):
    with pytest.raises(ValueError, match=message):
        calibration(logits, np.asarray(labels), num_bins=num_bins)
