"""How far a classifier's confidence and its accuracy agree."""

from typing import NamedTuple

import numpy as np
import scipy.special

from jeat_tf.core.checks import admit_labels
from jeat_tf.core.logits import check_logits


class Calibration(NamedTuple):
    """Calibration of the predicted class. Arrays have one entry for each of the equal-width bins of confidence.

    Attributes:
      accuracy: share of images whose largest logit is the label's.
      nll: mean of -log p(label | x), in nats.
      brier: mean of sum_k (p_k - [k = label])^2, between 0 and 2 (Brier, 1950).
      ece: expected calibration error, the mean over images of |accuracy - confidence| of their bin.
      adaptive_ece: the same over bins that hold equally many images.
      max_error: the largest |accuracy - confidence| of a bin, however few images it holds.
      edges: float64[bins + 1], of confidence; a bin includes its lower edge, the last one both.
      bin_confidence: float64[bins], mean confidence; NaN in an empty bin.
      bin_accuracy: float64[bins]; NaN in an empty bin.
      bin_count: int64[bins], images.
    """

    accuracy: float
    nll: float
    brier: float
    ece: float
    adaptive_ece: float
    max_error: float
    edges: np.ndarray
    bin_confidence: np.ndarray
    bin_accuracy: np.ndarray
    bin_count: np.ndarray


def calibration(logits: np.ndarray, labels: np.ndarray, *, num_bins: int = 15) -> Calibration:
    """Accuracy, proper scores, calibration errors and the arrays of a reliability diagram.

    The expected and maximum calibration error of Guo et al., 2017, eq. 3 and 5 (https://arxiv.org/abs/1706.04599), on
    the bins of `tfp.stats.expected_calibration_error`. All binned errors are biased upwards: a net that is calibrated
    perfectly shows an error above 0 on finitely many images, more so with more bins. Images of the same confidence
    share a bin of `adaptive_ece`, so that the order of images does not matter and saturated nets have fewer bins.

    Args:
      logits: float[N, K].
      labels: int[N].
      num_bins: bins of confidence between 0 and 1, and at most as many of equal count.

    Raises:
      ValueError: outputs that are not finite logits [N, K] with N >= 1 and K >= 2 but, for instance, probabilities;
        labels that do not fit them, num_bins < 1.
    """
    logits = np.asarray(logits, np.float64)
    check_logits(logits)
    if not len(logits):
        raise ValueError("expected logits [N, K] with N >= 1, received none")
    labels = admit_labels(labels, logits.shape[1])
    if len(labels) != len(logits):
        raise ValueError(f"expected a label for each of {len(logits)} rows of logits, received {len(labels)}")
    if num_bins < 1:
        raise ValueError(f"expected num_bins >= 1, received {num_bins}")
    log_p = scipy.special.log_softmax(logits, axis=-1)
    correct = logits.argmax(axis=-1) == labels
    confidence = np.exp(log_p.max(axis=-1))
    one_hot = np.arange(logits.shape[1]) == labels[:, None]
    own_bin = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    bin_confidence, bin_accuracy, count = _binned(confidence, correct, own_bin, num_bins)
    gaps = np.abs(bin_accuracy - bin_confidence)
    return Calibration(
        accuracy=float(correct.mean()),
        nll=float(-log_p[one_hot].mean()),
        brier=float(np.sum((np.exp(log_p) - one_hot) ** 2, axis=-1).mean()),
        ece=float(np.nansum(gaps * count) / len(labels)),
        adaptive_ece=_adaptive_error(confidence, correct, num_bins),
        max_error=float(np.nanmax(gaps)),
        edges=np.linspace(0.0, 1.0, num_bins + 1),
        bin_confidence=bin_confidence,
        bin_accuracy=bin_accuracy,
        bin_count=count,
    )


def _adaptive_error(confidence: np.ndarray, correct: np.ndarray, num_bins: int) -> float:
    """Calibration error over bins between quantiles of the confidence (Nguyen & O'Connor, 2015)."""
    inner = np.quantile(confidence, np.arange(1, num_bins) / num_bins, method="higher")
    own_bin = np.searchsorted(inner, confidence, side="right")
    bin_confidence, bin_accuracy, count = _binned(confidence, correct, own_bin, num_bins)
    return float(np.nansum(np.abs(bin_accuracy - bin_confidence) * count) / len(confidence))


def _binned(
    confidence: np.ndarray, correct: np.ndarray, own_bin: np.ndarray, num_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and count of each bin; NaN means of empty ones."""
    count = np.bincount(own_bin, minlength=num_bins)
    shown = np.where(count > 0, count, np.nan)
    totals = [np.bincount(own_bin, weights=values, minlength=num_bins) for values in (confidence, correct)]
    return totals[0] / shown, totals[1] / shown, count
