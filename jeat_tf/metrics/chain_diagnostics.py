"""What chains did on their way, and whether what they drew has collapsed.

A trace is one number of each chain, its energy say, at equally spaced steps: float[T, N].
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.core.checks import FLOATS, admit_labels, check_images
from jeat_tf.core.records import record
from jeat_tf.metrics.diversity import class_counts
from jeat_tf.samplers.values import Steps

_LEAST_READINGS = 4  # below, a correlation along a trace says nothing
_FAR = 0.1  # of the values beyond 2, all positive: images in 0..255 and no chain
_COLLAPSED = 0.5  # of the references' spread


def autocorrelation(trace: np.ndarray, max_lag: int | None = None) -> np.ndarray:
    """float64[L + 1, N], correlation of each chain with itself at lags 0 .. L; 1 at every lag for a constant chain.

    Args:
      trace: float[T, N].
      max_lag: L, below T; None is T - 1.

    Raises:
      ValueError: a trace that is not [T, N], is not finite or has fewer than 4 readings.
    """
    import tensorflow_probability as tfp

    trace = _checked(trace)
    with _quiet():
        values = tfp.stats.auto_correlation(trace, axis=0, max_lags=max_lag).numpy()
    return np.where(_constant(trace), 1.0, values)


def effective_sample_size(trace: np.ndarray) -> np.ndarray:
    """float64[N]: as many independent draws would know the trace's mean as well as the T readings of each chain do.

    T / (1 + 2 sum of autocorrelations), up to the first negative one (`tfp.mcmc.effective_sample_size`): from T for
    white noise down to 1 for a constant chain. That holds for a stationary chain. A chain with a decoupled step is a
    noisy descent, which is not: as long as it descends, its readings are correlated by their trend and the number is
    small, however long it runs. A number near T says that the quantity fluctuates about a level without memory, not
    that the chain has seen more than one mode of the density.

    Args:
      trace: float[T, N].

    Raises:
      ValueError: a trace that is not [T, N], is not finite or has fewer than 4 readings.
    """
    import tensorflow_probability as tfp

    trace = _checked(trace)
    with _quiet():
        sizes = tfp.mcmc.effective_sample_size(trace).numpy()
    return np.where(_constant(trace), 1.0, sizes)


def drift_to_noise(gradient_norms: np.ndarray, steps: Steps, num_values: int) -> np.ndarray:
    """Length of a step's drift in units of its noise's: step_size |grad E| / (noise_std sqrt(num_values)).

    Far above 1 the chain descends, far below it diffuses. Where Langevin dynamics are in equilibrium and their step is
    small, it is below 1.

    Args:
      gradient_norms: float[...], l2 over an image.
      steps: of the chain.
      num_values: H W C.

    Raises:
      ValueError: a chain without noise.
    """
    if not steps.noise_std > 0:
        raise ValueError(f"expected noise_std above 0 to compare with, received {steps.noise_std}")
    return steps.step_size * np.asarray(gradient_norms) / (steps.noise_std * num_values**0.5)


def saturation(images: np.ndarray) -> np.ndarray:
    """float64[N], share of each image's values that are at or beyond 0 or 1."""
    images = _of_chains(images)
    return np.mean((images <= 0) | (images >= 1), axis=tuple(range(1, images.ndim)))


class Collapse(NamedTuple):
    """Spread of images as a ratio to that of the reference images: 1 is alike, 0 is one image again and again.

    Attributes:
      within_class_std: standard deviation about the class's mean image, over all values of all classes.
      pairwise_distance: mean l2 distance of two images of any classes.
      nearest_distance: mean l2 distance to the nearest other image of the class, among equally many.
      alarm: one of them is below `threshold`.
      threshold: the ratio below which there is an alarm.
    """

    within_class_std: float
    pairwise_distance: float
    nearest_distance: float
    alarm: bool
    threshold: float


def collapse(
    images: np.ndarray,
    labels: np.ndarray,
    reference_images: np.ndarray,
    reference_labels: np.ndarray,
    *,
    threshold: float = _COLLAPSED,
) -> Collapse:
    """Whether images are far less diverse than reference images of the same classes, e.g. those of training.

    The alarm is a coarse one: noise is diverse, too. Classes with one image are left out.

    Args:
      images: float[N, H, W, C].
      labels: int[N], the requested classes, or those that a classifier sees.
      reference_images: float[M, H, W, C].
      reference_labels: int[M].
      threshold: ratio below which the alarm is given.

    Raises:
      ValueError: images that are not finite or not of the references' shape, no class with at least 2 of both.
    """
    a, labels = _of_chains(images), admit_labels(labels)
    b, reference_labels = _of_chains(reference_images), admit_labels(reference_labels)
    a, b = a.astype(np.float64), b.astype(np.float64)
    if a.shape[1:] != b.shape[1:]:
        raise ValueError(f"expected images of shape {list(b.shape[1:])}, received {list(a.shape[1:])}")
    for x, y in ((a, labels), (b, reference_labels)):
        if len(x) != len(y):
            raise ValueError(f"expected a label for each of {len(x)} images, received {len(y)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("expected finite images, received NaN or infinity; leave out chains that diverged")
    groups = []
    for label in np.intersect1d(labels, reference_labels):
        pair = [x[np.asarray(y) == label] for x, y in ((a, labels), (b, reference_labels))]
        if min(map(len, pair)) > 1:
            groups.append([x.reshape(len(x), -1) for x in pair])
    if not groups:
        raise ValueError("expected at least 2 images and 2 reference images of a class, received fewer of each")
    spread = []
    for side in range(2):
        sets = [group[side] for group in groups]
        few = [group[side][: min(map(len, group))] for group in groups]
        deviation = np.sqrt(sum(len(x) * np.mean(x.var(axis=0)) for x in sets) / sum(map(len, sets)))
        distances = _distances(np.concatenate(few))
        to_nearest = np.concatenate([_distances(x).min(axis=1) for x in few])
        spread.append([deviation, distances[np.isfinite(distances)].mean(), to_nearest.mean()])
    # Nothing is less diverse than references without any spread.
    std, pairwise, nearest = (float(ours / theirs) if theirs else 1.0 for ours, theirs in zip(*spread, strict=True))
    return Collapse(std, pairwise, nearest, min(std, pairwise, nearest) < threshold, threshold)


@record
class ChainDiagnosis:
    """What chains did on their way, and whether their last images have collapsed; None where there is too little.

    Attributes:
      chains: how many.
      chains_not_finite: how many of them were ever not finite; the numbers below are of the others.
      readings: at different steps.
      steps_between_readings: median.
      energy_first, energy_last: means at the first and the last reading.
      energy_fall_in_last_half: from its first reading to its last one.
      gradient_norm_first, gradient_norm_last: means likewise.
      effective_sample_size: median over chains, of the energy at all readings.
      effective_sample_size_of_last_half: of the later half of them.
      drift_to_noise: `drift_to_noise` at each reading, None at those without noise; None without any.
      saturated: share of values at or beyond 0 or 1.
      share_of_each_class: that a classifier sees.
      collapse: of the images.
    """

    chains: int
    chains_not_finite: int
    readings: int
    steps_between_readings: float | None
    energy_first: float | None
    energy_last: float | None
    energy_fall_in_last_half: float | None
    gradient_norm_first: float | None
    gradient_norm_last: float | None
    effective_sample_size: float | None
    effective_sample_size_of_last_half: float | None
    drift_to_noise: tuple[float | None, ...] | None
    saturated: float | None
    share_of_each_class: tuple[float, ...] | None
    collapse: Collapse | None


def diagnose(
    traces: dict[str, np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    reference_images: np.ndarray,
    reference_labels: np.ndarray,
    *,
    seen: np.ndarray | None = None,
    num_classes: int = 0,
    steps: Sequence[Steps | None] | None = None,
) -> ChainDiagnosis:
    """Everything above of one set of chains.

    Args:
      traces: "trace_step" int[T], steps done at each reading, and "trace_energy", "trace_gradient_norm" float[T, N].
        Of readings at the same step the last counts. Chains that were ever not finite are counted and left out.
      images: float[M, H, W, C], last images; those that are not finite are left out.
      labels: int[M], the requested classes.
      reference_images: float[R, H, W, C].
      reference_labels: int[R].
      seen: int[M], the classes that a classifier sees in the images, for the share of each.
      num_classes: of the classifier; 0: as many as the references and what it sees need.
      steps: T of them, of the chains at each reading, for the ratio of drift to noise; None where there is no noise.
    """
    step = np.asarray(traces["trace_step"])
    kept = np.append(np.diff(step) > 0, True)
    values, norms = (np.asarray(traces[f"trace_{name}"], np.float64)[kept] for name in ("energy", "gradient_norm"))
    finite = np.isfinite(values).all(axis=0) & np.isfinite(norms).all(axis=0)
    values, norms, step = values[:, finite], norms[:, finite], step[kept]
    late = values[len(values) // 2 :]
    whole = np.isfinite(images).all(axis=(1, 2, 3))
    shown, classes = images[whole], labels[whole]
    at_readings = [one for one, keep in zip(steps, kept, strict=True) if keep] if steps is not None else []
    return ChainDiagnosis(
        chains=len(finite),
        chains_not_finite=int(np.sum(~finite)),
        readings=len(step),
        steps_between_readings=float(np.median(np.diff(step))) if len(step) > 1 else None,
        energy_first=_mean(values[0]),
        energy_last=_mean(values[-1]),
        energy_fall_in_last_half=_mean(late[0] - late[-1]),
        gradient_norm_first=_mean(norms[0]),
        gradient_norm_last=_mean(norms[-1]),
        effective_sample_size=_median_size(values),
        effective_sample_size_of_last_half=_median_size(late),
        drift_to_noise=_ratios(norms, at_readings, int(np.prod(images.shape[1:]))),
        saturated=_mean(saturation(shown)),
        share_of_each_class=_shares(seen[whole], reference_labels, num_classes) if seen is not None else None,
        collapse=_spread(shown, classes, reference_images, reference_labels),
    )


def _ratios(norms: np.ndarray, steps: Sequence[Steps | None], num_values: int) -> tuple[float | None, ...] | None:
    """Drift to noise at each reading, None at those without noise; None if there is no noise or no chain at all."""
    if not norms.shape[1] or not any(steps):
        return None
    means = norms.mean(axis=1)
    return tuple(
        float(drift_to_noise(mean, one, num_values)) if one is not None else None
        for mean, one in zip(means, steps, strict=True)
    )


def _shares(seen: np.ndarray, reference_labels: np.ndarray, num_classes: int) -> tuple[float, ...] | None:
    if not len(seen):
        return None
    num_classes = num_classes or 1 + int(max(reference_labels.max(), seen.max()))
    return tuple((class_counts(seen, num_classes) / len(seen)).tolist())


def _spread(*arrays: np.ndarray) -> Collapse | None:
    labels, reference_labels = arrays[1], arrays[3]
    shared = np.intersect1d(labels, reference_labels)
    pairs = [min(np.sum(labels == k), np.sum(reference_labels == k)) for k in shared]
    return collapse(*arrays) if max(pairs, default=0) > 1 else None


def _median_size(trace: np.ndarray) -> float | None:
    enough = len(trace) >= _LEAST_READINGS and trace.shape[1]
    return float(np.median(effective_sample_size(trace))) if enough else None


def _mean(values: np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _distances(x: np.ndarray) -> np.ndarray:
    """l2 distances float64[N, N] of rows float64[N, D], infinite from a row to itself."""
    squares = np.square(x).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0))
    np.fill_diagonal(distances, np.inf)
    return distances


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow's warning that TFP takes the real part of a Fourier transform."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _of_chains(images: np.ndarray) -> np.ndarray:
    """Images float[N, H, W, C] of chains, which may leave [0, 1] and have values that are not finite.

    Raises:
      ValueError: integers, another shape, or whole images in 0..255.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype.name not in FLOATS:
        check_images(images)
    if images.size and np.nanmin(images) >= 0 and np.mean(images > 2) > _FAR:
        raise ValueError(f"expected images in [0, 1], received values up to {np.nanmax(images):g}; divide by 255")
    return images


def _constant(trace: np.ndarray) -> np.ndarray:
    return np.ptp(trace, axis=0) == 0


def _checked(trace: np.ndarray) -> np.ndarray:
    trace = np.asarray(trace, np.float64)
    if trace.ndim != 2 or len(trace) < _LEAST_READINGS:
        raise ValueError(
            f"expected a trace [T, N] of at least {_LEAST_READINGS} readings, received shape {list(trace.shape)}"
        )
    if not np.isfinite(trace).all():
        raise ValueError("expected a finite trace, received NaN or infinity; leave out chains that diverged")
    return trace
