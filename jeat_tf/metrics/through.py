"""A set of images through a feature net, once: sums over all, and a random sample for measures that compare images."""

from typing import NamedTuple

import numpy as np

from jeat_tf.metrics.diversity import class_counts
from jeat_tf.metrics.feature_statistics import ClassStatistics, FeatureStatistics
from jeat_tf.metrics.features import FeatureNet
from jeat_tf.metrics.scores import SplitScore

KEPT = 10_000  # images, drawn at random, whose features and pixels are kept for measures that compare images


class Kept:
    """A random sample, in random order, of rows that come in blocks: those with the smallest of random keys."""

    def __init__(self, seed: int, most: int):
        self._rng = np.random.default_rng(seed)
        self._most = most
        self._seen = 0
        self._arrays: tuple[np.ndarray, ...] = ()

    def update(self, *arrays: np.ndarray) -> None:
        """Shows the next rows, in arrays of one length."""
        places = np.arange(self._seen, self._seen + len(arrays[0]))
        self._seen += len(places)
        rows = (self._rng.random(len(places)), places, *arrays)
        if self._arrays:
            rows = tuple(np.concatenate(both) for both in zip(self._arrays, rows, strict=True))
        order = np.argsort(rows[0])[: self._most]
        self._arrays = tuple(array[order] for array in rows)

    def rows(self) -> tuple[np.ndarray, ...]:
        """The places of the rows kept among all, and their arrays."""
        return self._arrays[1:]


class Seen(NamedTuple):
    """A set of images through a feature net.

    Attributes:
      statistics: of all images.
      of_class: of all images of each class; None where there are no classes.
      places: int64[n], where the images kept are among all; the arrays below are of these.
      features, images, labels: of the images kept.
    """

    statistics: FeatureStatistics
    of_class: ClassStatistics | None
    places: np.ndarray
    features: np.ndarray
    images: np.ndarray
    labels: np.ndarray


class Through:
    """Runs images through a feature net, block by block.

    Attributes:
      predicted: int64[K], images of each class that the net sees.
      agreed: int64[K], those of them whose label it is.
    """

    def __init__(
        self,
        net: FeatureNet,
        classes: int,
        *,
        seed: int,
        conditional: bool = False,
        score: SplitScore | None = None,
    ):
        """
        Args:
          net: the feature net.
          classes: K, of the feature net.
          seed: of the random sample.
          conditional: whether labels are classes whose statistics are wanted.
          score: is shown the probabilities of all images.
        """
        self._net, self._conditional, self._score = net, conditional, score
        self._statistics: FeatureStatistics | None = None
        self._of_class: ClassStatistics | None = None
        self._kept = Kept(seed, KEPT)
        self.predicted, self.agreed = np.zeros(classes, np.int64), np.zeros(classes, np.int64)

    def update(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Shows the next images float[N, H, W, C] in [0, 1], N >= 1, and their labels int[N]."""
        features, probabilities = self._net.of(images)
        if self._statistics is None:
            self._statistics = FeatureStatistics(features.shape[1], net_sha256=self._net.sha256)
            if self._conditional:
                self._of_class = ClassStatistics(features.shape[1], net_sha256=self._net.sha256)
        self._statistics.update(features)
        if self._of_class is not None:
            self._of_class.update(features, labels)
        if self._score is not None:
            self._score.update(probabilities)
        self._kept.update(features, images, labels)
        seen = probabilities.argmax(-1)
        self.predicted += class_counts(seen, len(self.predicted))
        self.agreed += np.bincount(seen[seen == labels], minlength=len(self.agreed))

    def seen(self) -> Seen:
        """The statistics of all images so far, and the random sample of them.

        Raises:
          ValueError: no image was shown.
        """
        if self._statistics is None:
            raise ValueError("expected at least 1 image, received none")
        return Seen(self._statistics, self._of_class, *self._kept.rows())
