"""Frechet distances of features: between two sets, of each class, and extrapolated to infinitely many images."""

import warnings
from typing import NamedTuple

import numpy as np
import scipy.linalg

from jeat_tf.core.checks import admit_labels
from jeat_tf.metrics.feature_statistics import FeatureStatistics, check_same_net, checked_features
from jeat_tf.metrics.scores import pair

_ENOUGH = 10_000  # images below which the bias of a Frechet distance is of the size of differences between papers


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
    return _frechet_distance(few, _root(few, any_rank=many.deviations is not None), many)


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
      seed: of the random subsets.
      num_sizes: number of subset sizes, at least 10.

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


def per_class_frechet(
    features: np.ndarray, labels: np.ndarray, reference: np.ndarray, reference_labels: np.ndarray
) -> dict[int, float]:
    """`frechet_distance` of the samples of each class to the real images of that class.

    Args:
      features: float[N, D] of the samples.
      labels: int[N], their requested classes.
      reference: float[M, D] of the real images.
      reference_labels: int[M], their classes.

    Raises:
      ValueError: not one label for each image, or a class with fewer than 2 images on a side.
    """
    features, reference = pair(features, reference)
    labels, reference_labels = admit_labels(labels), admit_labels(reference_labels)
    for x, y in ((features, labels), (reference, reference_labels)):
        if y.shape != (len(x),):
            raise ValueError(f"expected one label for each of {len(x)} images, received labels {list(y.shape)}")
    classes = np.union1d(labels, reference_labels).tolist()
    few = [c for c in classes if min(np.sum(labels == c), np.sum(reference_labels == c)) < 2]
    if few:
        raise ValueError(f"expected at least 2 samples and 2 real images of each class, received fewer of {few}")
    return {c: frechet_distance(features[labels == c], reference[reference_labels == c]) for c in classes}


def _root(statistics: FeatureStatistics, *, any_rank: bool = False) -> np.ndarray:
    """R float64[D, rank] with R R^T the covariance; with `any_rank` it may have columns too many."""
    if statistics.count <= statistics.width:
        warnings.warn(
            f"{statistics.count} images give {statistics.width} features a covariance without full rank; their "
            "Frechet distance says more about the number of images than about the images",
            stacklevel=3,
        )
    rows = statistics.deviations
    if rows is not None and any_rank:
        return rows.T  # singular values of a product are taken of it, of which none is the root of a rounded zero
    if rows is not None:
        # N x D with N <= D: no matrix D x D, and no eigenproblem of that size.
        _, sizes, directions = scipy.linalg.svd(rows, full_matrices=False)
        kept = sizes > sizes[:1] * max(rows.shape) * np.finfo(float).eps
        return directions[kept].T * sizes[kept]
    covariance = statistics.covariance
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
    rows = b.deviations
    if rows is not None:
        # With B = S S^T the trace of the root is the sum of singular values of S^T R, M x rank.
        trace = np.square(rows).sum()
        roots = scipy.linalg.svdvals(rows @ root_a).sum() if root_a.size else 0.0
    else:
        covariance = b.covariance
        trace = np.trace(covariance)
        squares = scipy.linalg.eigvalsh(root_a.T @ covariance @ root_a) if root_a.size else np.zeros(0)
        roots = np.sqrt(np.maximum(squares, 0)).sum()
    return float(difference @ difference + np.square(root_a).sum() + trace - 2 * roots)
