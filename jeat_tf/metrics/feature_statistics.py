"""Mean and covariance of features, block by block, so that the features need not be in memory together."""

import numpy as np

from jeat_tf.core.files import read_arrays, write_arrays

_ROWS = 4096  # of one block: its float64 copy has 67 MB at 2048 features


def checked_features(features: np.ndarray, least: int = 1) -> np.ndarray:
    """float64[N, D], the features given.

    Raises:
      ValueError: not [N, D], fewer than `least` rows, or values that are not finite.
    """
    features = np.asarray(features)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"expected features of shape [N, D], received {list(features.shape)}")
    if len(features) < least:
        raise ValueError(f"expected features of at least {least} images, received {len(features)}")
    features = features.astype(np.float64, copy=False)
    if not np.isfinite(features).all():
        rows = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise ValueError(f"expected finite features, received NaN or infinity in {len(rows)} rows, first in {rows[0]}")
    return features


class FeatureStatistics:
    """Count, mean float64[D] and covariance float64[D, D] of features that come in blocks.

    Blocks are centred on their own mean and joined by Chan, Golub and LeVeque, 1979, eq. 2.1, so that a mean that is
    large beside the spread costs no digits. Up to D images are kept as they are, because their covariance has a low
    rank. Beyond, memory is some matrices [D, D] and one block, whatever the count. Blocks of fewer than some hundred
    images are slow: each costs the time of such matrices.

    Args:
      width: D.
      net_sha256: digest of the feature net, so that features of two nets are not compared; "" where unknown.
    """

    def __init__(self, width: int, *, net_sha256: str = ""):
        if width < 1:
            raise ValueError(f"expected at least 1 feature, received {width}")
        self.count = 0
        self.mean = np.zeros(width)
        self.net_sha256 = net_sha256
        self._rows: list[np.ndarray] = []  # all features, as long as they are no more than a matrix [D, D] holds
        self._scatter: np.ndarray | None = None

    @classmethod
    def of(cls, features: np.ndarray, *, net_sha256: str = "") -> "FeatureStatistics":
        """The statistics of features float[N, D], N >= 2."""
        if np.ndim(features) != 2 or len(features) < 2:
            checked_features(features, least=2)
        statistics = cls(np.shape(features)[1], net_sha256=net_sha256)
        statistics.update(features)
        return statistics

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def covariance(self) -> np.ndarray:
        """float64[D, D], unbiased (divided by count - 1).

        Raises:
          ValueError: fewer than two images so far.
        """
        if self.count < 2:
            raise ValueError(f"expected features of at least 2 images, received {self.count}")
        return self._scattered() / (self.count - 1)

    @property
    def deviations(self) -> np.ndarray | None:
        """float64[count, D], S with S^T S the covariance, of no more images than features; None of more."""
        if self.count < 2:
            raise ValueError(f"expected features of at least 2 images, received {self.count}")
        if self._scatter is not None:
            return None
        return (np.concatenate(self._rows) - self.mean) / (self.count - 1) ** 0.5

    def update(self, features: np.ndarray) -> None:
        """Adds features float[N, D] of any float type.

        Raises:
          ValueError: another width, or values that are not finite; nothing of the block is added then.
        """
        blocks = [features[start : start + _ROWS] for start in range(0, len(features), _ROWS)]
        for block in blocks:
            self._check_width(checked_features(block).shape[1])
        if self._scatter is None and self.count + len(features) <= self.width:
            for block in map(checked_features, blocks):
                self._rows.append(block.copy())
                self._join(len(block), block.mean(axis=0), None)
            return
        self._scatter = self._scattered()
        self._rows = []
        for block in map(checked_features, blocks):
            mean = block.mean(axis=0)
            block = block - mean
            self._join(len(block), mean, block.T @ block)

    def merge(self, other: "FeatureStatistics") -> None:
        """Adds what `other` has seen.

        Raises:
          ValueError: another width or another feature net.
        """
        self._check_width(other.width)
        check_same_net(self, other)
        if other._scatter is None:
            for rows in other._rows:
                self.update(rows)
            return
        self._scatter = self._scattered()
        self._rows = []
        self._join(other.count, other.mean, other._scatter)

    def save(self, path: str) -> None:
        """Writes an .npz file as a whole."""
        write_arrays(
            path,
            count=np.array(self.count),
            mean=self.mean,
            scatter=self._scattered(),
            net_sha256=np.array(self.net_sha256),
        )

    @classmethod
    def load(cls, path: str) -> "FeatureStatistics":
        """The statistics in a file that `save` wrote.

        Raises:
          ValueError: not such a file.
        """
        try:
            arrays = read_arrays(path)
            statistics = cls(len(arrays["mean"]), net_sha256=str(arrays["net_sha256"]))
            statistics._scatter = np.zeros_like(arrays["scatter"])
            statistics._join(int(arrays["count"]), arrays["mean"], arrays["scatter"])
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(
                f"cannot read feature statistics in {path}: {error}; expected a file that FeatureStatistics.save wrote"
            ) from error
        return statistics

    def _check_width(self, width: int) -> None:
        if width != self.width:
            raise ValueError(f"expected {self.width} features of each image, received {width}")

    def _scattered(self) -> np.ndarray:
        """float64[D, D], the sum of squares about the mean."""
        if self._scatter is not None:
            return self._scatter
        if not self._rows:
            return np.zeros((self.width, self.width))
        rows = np.concatenate(self._rows) - self.mean
        return rows.T @ rows

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray | None) -> None:
        if not count:
            return
        total = self.count + count
        difference = mean - self.mean
        if self._scatter is not None and scatter is not None:
            self._scatter += scatter
            self._scatter += np.outer(difference, difference * (self.count * count / total))
        self.mean = self.mean + difference * (count / total)
        self.count = total


class ClassStatistics:
    """`FeatureStatistics` of each class, of features that come in blocks.

    Memory is a matrix [D, D] for each class that has more than D images (34 MB at 2048 features), and up to D rows of
    each class: those of few images are kept as they are.

    Args:
      width, net_sha256: of `FeatureStatistics`.
    """

    def __init__(self, width: int, *, net_sha256: str = ""):
        self.width, self.net_sha256 = width, net_sha256
        self._statistics: dict[int, FeatureStatistics] = {}
        self._rows: dict[int, list[np.ndarray]] = {}

    def update(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Adds features float[N, D] of images of the classes labels int[N]."""
        for label in np.unique(labels).tolist():
            rows = self._rows.setdefault(label, [])
            rows.append(features[labels == label])
            if sum(map(len, rows)) > self.width:
                self._statistics.setdefault(label, self._empty()).update(np.concatenate(rows))
                rows.clear()

    @property
    def counts(self) -> dict[int, int]:
        """Images of each class seen so far, in the order of the classes."""
        known = {label: statistics.count for label, statistics in self._statistics.items()}
        return {label: known.get(label, 0) + sum(map(len, rows)) for label, rows in sorted(self._rows.items())}

    def of(self, label: int) -> FeatureStatistics:
        """The statistics of one class; without images of a class that was not seen."""
        statistics = self._empty()
        if label in self._statistics:
            statistics.merge(self._statistics[label])
        if rows := self._rows.get(label):
            statistics.update(np.concatenate(rows))
        return statistics

    def _empty(self) -> FeatureStatistics:
        return FeatureStatistics(self.width, net_sha256=self.net_sha256)


def check_same_net(a: FeatureStatistics, b: FeatureStatistics) -> None:
    """Raises ValueError where both feature nets are known and differ."""
    if a.net_sha256 and b.net_sha256 and a.net_sha256 != b.net_sha256:
        raise ValueError(
            f"expected features of one net, received features of {a.net_sha256[:12]}... and {b.net_sha256[:12]}..."
        )
