"""How samples compare with real images, as a feature net sees both. A `Protocol` says which, beside each score."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import scipy.special

from jeat_tf.core.checks import admit
from jeat_tf.core.logits import look_at_outputs
from jeat_tf.metrics.feature_statistics import checked_features

_ROWS = 1024  # of one block of a kernel matrix
_MEGABYTES = 64  # of one block of a distance matrix


class InceptionScore(NamedTuple):
    """Mean and standard deviation (not of the mean) over splits."""

    mean: float
    std: float


class KernelDistance(NamedTuple):
    """Mean over random subsets, and its standard error: what it would vary by with other images and other subsets."""

    mean: float
    standard_error: float


class PrecisionRecall(NamedTuple):
    """Shares of samples among the real images, and of real images among the samples."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Real balls around a sample, over k; share of real balls that hold a sample."""

    density: float
    coverage: float


def agreement(judge: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the judge classifies as the requested label.

    Raises:
      ValueError: invalid images or labels, or a judge that gives no logits.
    """
    images, labels = admit(images, labels)
    parts = range(0, len(images), 256)
    logits = np.concatenate([look_at_outputs(judge, images[i : i + 256], energies=False, what="judge") for i in parts])
    return float(np.mean(logits.argmax(-1) == labels))


def inception_score(probabilities: np.ndarray, splits: int = 10) -> InceptionScore:
    """exp(E_x KL(p(y|x) || p(y))) over consecutive splits (Salimans et al., 2016, sec. 4).

    Splits are consecutive: samples that come sorted by class have to be shuffled first. A split of m images scores m at
    most, whatever the number of classes (`score_bias_note`).

    Args:
      probabilities: float[N, K], rows that sum to 1.

    Raises:
      ValueError: not probabilities, or fewer images than classes or splits.
    """
    p = np.asarray(probabilities)
    checked_features(p[:2], least=2)
    score = SplitScore(len(p), p.shape[1], splits)
    score.update(p)
    return score.result()


class SplitScore:
    """`inception_score` of probabilities that come in blocks, so that they need not be in memory together.

    Args:
      count: images there will be, which say where splits end.
      classes: K.
      splits: consecutive parts, each with a score of its own.

    Raises:
      ValueError: fewer images than classes or splits.
    """

    def __init__(self, count: int, classes: int, splits: int = 10):
        if not 1 <= splits <= count:
            raise ValueError(f"expected 1 to {count} splits, as many as images at most, received {splits}")
        if count < classes:
            raise ValueError(
                f"expected at least as many images as the {classes} classes of the feature net, received {count}"
            )
        self._ends = [(i + 1) * count // splits for i in range(splits)]
        self._seen = 0
        self._sums = np.zeros((splits, classes))
        self._entropies = np.zeros(splits)

    def update(self, probabilities: np.ndarray) -> None:
        """Adds float[N, K], rows that sum to 1, of the next images.

        Raises:
          ValueError: not probabilities, or more images than were to come.
        """
        p = np.asarray(probabilities)
        if self._seen + len(p) > self._ends[-1]:
            raise ValueError(f"expected {self._ends[-1]} images, received {self._seen + len(p)}")
        start = 0
        while start < len(p):
            split = int(np.searchsorted(self._ends, self._seen, side="right"))
            part = checked_features(p[start : start + self._ends[split] - self._seen])
            if (part < 0).any() or not np.allclose(part.sum(axis=1), 1, atol=1e-3):
                raise ValueError(
                    "expected rows >= 0 that sum to 1, received other rows; apply a softmax to logits first"
                )
            self._sums[split] += part.sum(axis=0)
            self._entropies[split] += scipy.special.entr(part).sum()
            self._seen += len(part)
            start += len(part)

    def result(self) -> InceptionScore:
        """The score of all images.

        Raises:
          ValueError: fewer images came than were to come.
        """
        if self._seen != self._ends[-1]:
            raise ValueError(f"expected {self._ends[-1]} images, received {self._seen}")
        sizes = np.diff([0, *self._ends])
        scores = np.exp(scipy.special.entr(self._sums / sizes[:, None]).sum(axis=1) - self._entropies / sizes)
        return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def score_bias_note(n: int, splits: int, classes: int) -> str:
    """What to say beside an inception score of n images in so many splits; "" where a split has enough images."""
    size = n // splits
    if size >= classes:
        return ""
    return (
        f"biased downwards: splits of {size} images, which score {size} at most, fewer than the {classes} classes of "
        "the feature net; draw more images, or take fewer splits"
    )


def kernel_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of features float[N, D] and float[M, D], kernel (x . y / D + 1)^3.

    Binkowski et al., 2018, eq. 4 with the kernel of sec. 4. It may be below 0.

    Raises:
      ValueError: fewer than two images, another width, or features that are not finite.
    """
    a, b = pair(a, b)
    n, m = len(a), len(b)
    within = (_kernel_sum(a, a) - _diagonal(a).sum()) / (n * (n - 1)) + (_kernel_sum(b, b) - _diagonal(b).sum()) / (
        m * (m - 1)
    )
    return float(within - 2 * _kernel_sum(a, b) / (n * m))


def kernel_distance(
    features: np.ndarray, reference: np.ndarray, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """`kernel_mmd` averaged over random subsets, each without replacement (Binkowski et al., 2018).

    Subsets overlap, so their spread divided by the root of their number is no standard error: on average over subsets
    the mean is `kernel_mmd` of all images, and varies with them. The standard error has two parts: the jackknife of
    `kernel_mmd` over the images of both sides (Arvesen, 1969), and what a finite number of subsets adds. On average it
    is no lower than the truth (Efron & Stein, 1981), and up to 1.4 times the truth where both sides have one
    distribution.

    Raises:
      ValueError: fewer than 3 images, fewer than 2 subsets, subsets larger than the sets, another width, or features
        that are not finite.
    """
    features, reference = pair(features, reference, least=3)
    if subsets < 2:
        raise ValueError(f"expected at least 2 subsets, received {subsets}; kernel_mmd takes all images once")
    if not 2 <= subset_size <= min(len(features), len(reference)):
        raise ValueError(
            f"expected a subset size from 2 to {min(len(features), len(reference))}, as many as images, "
            f"received {subset_size}"
        )
    rng = np.random.default_rng(seed)
    values = [
        kernel_mmd(*(x[rng.choice(len(x), subset_size, replace=False)] for x in (features, reference)))
        for _ in range(subsets)
    ]
    variance = _jackknife_variance(features, reference) + np.var(values, ddof=1) / subsets
    return KernelDistance(float(np.mean(values)), float(np.sqrt(variance)))


def precision_recall(features: np.ndarray, reference: np.ndarray, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019, eq. 1 and 2).

    Precision: share of samples within the distance of some real image to its k-th nearest real neighbour; recall:
    the same with the roles exchanged. Both depend on the number of images on either side.

    Args:
      features: float[N, D] of the samples.
      reference: float[M, D] of the real images.

    Raises:
      ValueError: no more than k images on a side, another width, or features that are not finite.
    """
    features, reference = pair(features, reference, least=k + 1)
    return PrecisionRecall(
        float(_in_any_ball(features, reference, _radii(reference, k)).mean()),
        float(_in_any_ball(reference, features, _radii(features, k)).mean()),
    )


def density_coverage(features: np.ndarray, reference: np.ndarray, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020, eq. 3 and 4), with balls around the real images.

    Density: real balls around a sample, over k (1 on average where the distributions are equal, not bounded);
    coverage: share of real balls that hold a sample.

    Raises:
      ValueError: no more than k images on a side, another width, or features that are not finite.
    """
    features, reference = pair(features, reference, least=k + 1)
    radii = _radii(reference, k)
    held = _reduced(reference, features, lambda d, start: (d <= radii[start : start + len(d), None]).sum(axis=1))
    return DensityCoverage(float(held.sum() / (k * len(features))), float((held > 0).mean()))


def pair(a: np.ndarray, b: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features float64[N, D] and [M, D].

    Raises:
      ValueError: fewer than `least` images on a side, another width, or features that are not finite.
    """
    a, b = checked_features(a, max(least, 2)), checked_features(b, max(least, 2))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"expected as many features on both sides, received {a.shape[1]} and {b.shape[1]}")
    return a, b


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return float(_kernel_sums(a, b)[0].sum())


def _kernel_sums(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the kernel matrix of a and b over its rows, float64[N], and over its columns, float64[M]."""
    rows, columns = [], np.zeros(len(b))
    for i in range(0, len(a), _ROWS):
        inner = a[i : i + _ROWS] @ b.T / a.shape[1] + 1
        kernel = inner * inner * inner
        rows.append(kernel.sum(axis=1))
        columns += kernel.sum(axis=0)
    return np.concatenate(rows), columns


def _diagonal(a: np.ndarray) -> np.ndarray:
    return (np.square(a).mean(axis=1) + 1) ** 3


def _jackknife_variance(a: np.ndarray, b: np.ndarray) -> float:
    """Variance of `kernel_mmd` over draws of both sets, from its values without one image after the other."""
    n, m = len(a), len(b)
    of_a, of_b = (_kernel_sums(x, x)[0] - _diagonal(x) for x in (a, b))
    across_a, across_b = _kernel_sums(a, b)
    variance = 0.0
    for own, across, size, other in ((of_a, across_a, n, m), (of_b, across_b, m, n)):
        # What the other side alone gives is in each value, and is left out.
        within = (own.sum() - 2 * own) / ((size - 1) * (size - 2))
        between = 2 * (across.sum() - across) / ((size - 1) * other)
        variance += (size - 1) * float(np.var(within - between))
    return variance


def _radii(features: np.ndarray, k: int) -> np.ndarray:
    """float64[N], the distance of each row to its k-th nearest other row."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features).kneighbors()[0][:, -1]


def _in_any_ball(points: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """bool[N], whether a point is in the ball around any centre."""
    return _reduced(points, centres, lambda distances, start: np.any(distances <= radii, axis=1))


def _reduced(a: np.ndarray, b: np.ndarray, reduce: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """reduce(distances float64[rows, M], first row) of blocks of the distance matrix between a and b, joined."""
    from sklearn.metrics import pairwise_distances_chunked

    return np.concatenate(list(pairwise_distances_chunked(a, b, reduce_func=reduce, working_memory=_MEGABYTES)))
