"""How samples compare with real images, as a feature net sees both. A `Protocol` says which, beside each score."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import scipy.linalg
import scipy.special

from jeat_tf.core.checks import admit, admit_labels
from jeat_tf.core.logits import look_at_outputs
from jeat_tf.metrics.feature_statistics import FeatureStatistics, check_same_net, checked_features

_ROWS = 1024  # of one block of a kernel matrix
_MEGABYTES = 64  # of one block of a distance matrix
_ENOUGH = 10_000  # images below which the bias of a Frechet distance is of the size of differences between papers


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


class Extrapolation(NamedTuple):
    """A Frechet distance without the bias of a finite number of samples.

    Attributes:
      distance: intercept at 1/n = 0.
      slope: of the distance over 1/n.
      sizes: subset sizes.
      distances: the distance of each subset.
    """

    distance: float
    slope: float
    sizes: list[int]
    distances: list[float]


def agreement(judge: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the judge classifies as the label asked for.

    Raises:
      ValueError: images or labels that are not what they should be, or a judge that gives no logits.
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


def frechet_distance(a: FeatureStatistics | np.ndarray, b: FeatureStatistics | np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features (Heusel et al., 2017, eq. 6).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). With A = R R^T the trace of the root is the sum of square roots
    of the eigenvalues of R^T B R, which is symmetric: no complex roots, nothing added to a diagonal. It is biased
    upwards, by about c / n for n images and a c of its own for each net (`bias_note`, `frechet_infinity`).

    Args:
      a: statistics, or features float[N, D].
      b: the same of the other set.

    Raises:
      ValueError: fewer than two images, another width, another feature net, or features that are not finite.
    """
    a, b = (x if isinstance(x, FeatureStatistics) else FeatureStatistics.of(x) for x in (a, b))
    # The root of the set with fewer images: of the lower rank, so that no eigenvalue is a rounded zero.
    few, many = (a, b) if a.count <= b.count else (b, a)
    return _frechet_distance(few, _root(few), many)


def bias_note(n: int) -> str:
    """What to say beside a Frechet distance of n images; "" where there are enough."""
    if n >= _ENOUGH:
        return ""
    return f"biased upwards: {n} images, fewer than {_ENOUGH}; compare only with scores of as many images"


def frechet_infinity(
    features: np.ndarray, reference: FeatureStatistics, *, seed: int = 0, num_sizes: int = 15
) -> Extrapolation:
    """The Frechet distance extrapolated to infinitely many samples (Chong & Forsyth, 2020, sec. 4.1).

    A line through the distances of random subsets over 1/n, read at 1/n = 0. Subset sizes are spread evenly from a
    tenth of the samples, or one more than the features if that is more, to all of them.

    Args:
      features: float[N, D] of the samples.
      reference: of the real images; its own bias stays.

    Raises:
      ValueError: fewer than 2 (D + 1) samples, fewer than 10 sizes, or what `frechet_distance` raises.
    """
    features = np.asarray(features)
    checked_features(features[:2], least=2)
    if num_sizes < 10:
        raise ValueError(f"expected at least 10 subset sizes, received {num_sizes}")
    n, width = features.shape
    smallest = max(n // 10, width + 1)
    if n < 2 * smallest or n - smallest < num_sizes:
        raise ValueError(
            f"expected at least {max(2 * (width + 1), width + 1 + num_sizes)} samples to extrapolate with {width} "
            f"features, received {n}"
        )
    rng = np.random.default_rng(seed)
    sizes = np.linspace(smallest, n, num_sizes).round().astype(int)
    root = _root(reference)
    distances = [
        _frechet_distance(reference, root, FeatureStatistics.of(features[rng.permutation(n)[:size]])) for size in sizes
    ]
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    return Extrapolation(float(intercept), float(slope), sizes.tolist(), distances)


def kernel_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of features float[N, D] and float[M, D], kernel (x . y / D + 1)^3.

    Binkowski et al., 2018, eq. 4 with the kernel of sec. 4. It may be below 0.

    Raises:
      ValueError: fewer than two images, another width, or features that are not finite.
    """
    a, b = _pair(a, b)
    n, m = len(a), len(b)
    within = (_kernel_sum(a, a) - _diagonal(a).sum()) / (n * (n - 1)) + (_kernel_sum(b, b) - _diagonal(b).sum()) / (
        m * (m - 1)
    )
    return float(within - 2 * _kernel_sum(a, b) / (n * m))


def kernel_distance(
    features: np.ndarray, reference: np.ndarray, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """`kernel_mmd` averaged over random subsets, each without replacement (Binkowski et al., 2018).

    Subsets overlap, so that their spread over the root of their number is no standard error: on average over subsets
    the mean is `kernel_mmd` of all images, and varies with them. The standard error is that of `kernel_mmd` by the
    jackknife over the images of both sides (Arvesen, 1969), and what is left by a finite number of subsets. It is on
    average no lower than the truth (Efron & Stein, 1981), and up to 1.4 times the truth where both sides have one
    distribution.

    Raises:
      ValueError: fewer than 3 images, fewer than 2 subsets, subsets larger than the sets, another width, or features
        that are not finite.
    """
    features, reference = _pair(features, reference, least=3)
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
    features, reference = _pair(features, reference, least=k + 1)
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
    features, reference = _pair(features, reference, least=k + 1)
    radii = _radii(reference, k)
    held = _reduced(reference, features, lambda d, start: (d <= radii[start : start + len(d), None]).sum(axis=1))
    return DensityCoverage(float(held.sum() / (k * len(features))), float((held > 0).mean()))


def per_class_frechet(
    features: np.ndarray, labels: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray
) -> dict[int, float]:
    """`frechet_distance` of the samples of each class to the real images of that class.

    Args:
      features: float[N, D] of the samples; labels int[N] are the classes asked for.
      reference: float[M, D] of the real images, with labels int[M].

    Raises:
      ValueError: not one label for each image, or a class with fewer than 2 images on a side.
    """
    features, reference = _pair(features, reference)
    labels, reference_labels = admit_labels(labels), admit_labels(reference_labels)
    for x, y in ((features, labels), (reference, reference_labels)):
        if y.shape != (len(x),):
            raise ValueError(f"expected one label for each of {len(x)} images, received labels {list(y.shape)}")
    classes = np.union1d(labels, reference_labels).tolist()
    few = [c for c in classes if min(np.sum(labels == c), np.sum(reference_labels == c)) < 2]
    if few:
        raise ValueError(f"expected at least 2 samples and 2 real images of each class, received fewer of {few}")
    return {c: frechet_distance(features[labels == c], reference[reference_labels == c]) for c in classes}


def _pair(a: np.ndarray, b: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    a, b = checked_features(a, max(least, 2)), checked_features(b, max(least, 2))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"expected as many features on both sides, received {a.shape[1]} and {b.shape[1]}")
    return a, b


def _root(statistics: FeatureStatistics) -> np.ndarray:
    """R float64[D, rank] with R R^T the covariance."""
    covariance = statistics.covariance
    if statistics.count <= statistics.width:
        warnings.warn(
            f"{statistics.count} images give {statistics.width} features a covariance without full rank; their "
            "Frechet distance says more about the number of images than about the images",
            stacklevel=3,
        )
    else:
        try:
            return scipy.linalg.cholesky(covariance, lower=True)
        except scipy.linalg.LinAlgError:
            pass  # Features that never vary, such as units that are always off.
    values, vectors = scipy.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(float).eps
    return vectors[:, kept] * np.sqrt(values[kept])


def _frechet_distance(a: FeatureStatistics, root_a: np.ndarray, b: FeatureStatistics) -> float:
    check_same_net(a, b)
    if a.width != b.width:
        raise ValueError(f"expected as many features on both sides, received {a.width} and {b.width}")
    difference = a.mean - b.mean
    covariance = b.covariance
    squares = scipy.linalg.eigvalsh(root_a.T @ covariance @ root_a) if root_a.size else np.zeros(0)
    traces = np.square(root_a).sum() + np.trace(covariance)
    return float(difference @ difference + traces - 2 * np.sqrt(np.maximum(squares, 0)).sum())


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
