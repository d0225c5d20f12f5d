"""Class means and covariances of a data set: where class Gaussians, their mixture and class components come from."""

from typing import Any, NamedTuple

import numpy as np

from jeat_tf.core.checks import admit
from jeat_tf.samplers.starts import FULL_UP_TO, RANK

# Added to the variance of every pixel, because most covariances are singular. JEM++ adds as much on [-1, 1] images, a
# quarter of it in pixels.
_JITTER = 1e-4


class ClassStatistics(NamedTuple):
    """A Gaussian for each of K classes over images of D numbers: mean + factor @ N(0, I_R) + std * N(0, I_D).

    Attributes:
      means: float32[K, D].
      factors: float32[K, D, R].
      stds: float32[K, D], or an empty array where the factors say it all.
      image_shape: int64[3], (H, W, C) with H W C = D.

    Arrays, or the tensors of a layer that has adapted to data.
    """

    means: Any
    factors: Any
    stds: Any
    image_shape: Any


def class_statistics(
    images: np.ndarray, labels: np.ndarray, num_classes: int, *, rank: int | None = None, seed: int = 0
) -> ClassStatistics:
    """Mean and covariance + 1e-4 I of each class.

    Args:
      images: float32[N, H, W, C] in [0, 1], the training images.
      labels: int[N].
      num_classes: K.
      rank: None: the full covariance, as its Cholesky factor, for images of up to 1024 numbers, and rank 256 beyond;
        a number: its leading principal components, and on the diagonal the variance of each pixel that they leave out.
      seed: of the randomised decomposition, for a rank.

    Raises:
      ValueError: images outside [0, 1] or not finite, labels that are not theirs or not in 0..K - 1, a class of fewer
        than two images, or a rank that is not in 1..D.
    """
    images, labels = admit(images, labels, num_classes)
    flat = _flat(images, labels, num_classes)
    size = flat.shape[1]
    if rank is None and size > FULL_UP_TO:
        rank = RANK
    if rank is not None and not 1 <= rank <= size:
        raise ValueError(f"expected a rank in 1..{size}, the numbers of an image, received {rank}")
    means, factors, stds = [], [], []
    for k in range(num_classes):
        of_class = flat[labels == k]
        means.append(of_class.mean(axis=0))
        if rank is None:
            covariance = np.cov(of_class, rowvar=False, dtype=np.float64) + _JITTER * np.eye(size)
            factors.append(np.linalg.cholesky(covariance))
        else:
            factor = _components(of_class, rank, seed)
            left_out = np.maximum(of_class.var(axis=0, ddof=1) - np.square(factor).sum(axis=1), 0) + _JITTER
            factors.append(factor)
            stds.append(np.sqrt(left_out))
    return _statistics(images, means, factors, stds)


def class_components(
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    retained: float = 0.99,
    sigma: float | None = None,
    noise_std: float = 0.0,
    max_rank: int = 512,
    seed: int = 0,
) -> ClassStatistics:
    """The leading principal components of each class (WEAT, Mirza et al., 2024).

    Args:
      images: float32[N, H, W, C] in [0, 1].
      labels: int[N].
      num_classes: K.
      retained: share of the class's variance that its components hold, in (0, 1].
      sigma: components are sigma sqrt(n - 1) times as long as their standard deviation in n images; None: as long.
      noise_std: standard deviation of the noise on every pixel.
      max_rank: components at most.
      seed: of the randomised decomposition.

    Raises:
      ValueError: as in `class_statistics`, or `retained` is not in (0, 1].
    """
    if not 0 < retained <= 1:
        raise ValueError(f"expected a retained share of variance in (0, 1], received {retained:g}")
    images, labels = admit(images, labels, num_classes)
    flat = _flat(images, labels, num_classes)
    means, factors, stds = [], [], []
    for k in range(num_classes):
        of_class = flat[labels == k]
        factor = _components(of_class, min(max_rank, *of_class.shape), seed)
        explained = np.cumsum(np.square(factor).sum(axis=0)) / of_class.var(axis=0, ddof=1).sum()
        count = min(int(np.searchsorted(explained, retained - 1e-6)) + 1, factor.shape[1])
        means.append(of_class.mean(axis=0))
        scale = 1.0 if sigma is None else sigma * np.sqrt(len(of_class) - 1)
        factors.append(scale * factor[:, :count])
        stds.append(np.full(flat.shape[1], noise_std))
    width = max(factor.shape[1] for factor in factors)
    factors = [np.pad(factor, [(0, 0), (0, width - factor.shape[1])]) for factor in factors]
    return _statistics(images, means, factors, stds)


def _flat(images: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise ValueError(f"expected at least 2 images of each class for class Gaussians, received {counts.tolist()}")
    return images.reshape(len(images), -1)


def _components(of_class: np.ndarray, rank: int, seed: int) -> np.ndarray:
    """float[D, R], principal directions of a class, each as long as its standard deviation; zeros beyond N - 1."""
    from sklearn.decomposition import PCA

    count = min(rank, *of_class.shape)
    solver = "randomized" if count < min(of_class.shape) / 2 else "full"
    pca = PCA(count, svd_solver=solver, random_state=seed).fit(of_class)
    factor = pca.components_.T * np.sqrt(pca.explained_variance_)
    return np.pad(factor, [(0, 0), (0, rank - count)])


def _statistics(images: np.ndarray, means: list, factors: list, stds: list) -> ClassStatistics:
    return ClassStatistics(
        means=np.asarray(means, np.float32),
        factors=np.asarray(factors, np.float32),
        stds=np.asarray(stds, np.float32),
        image_shape=np.asarray(images.shape[1:]),
    )
