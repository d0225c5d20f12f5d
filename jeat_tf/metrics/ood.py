"""Telling images of the data from others by what a net says of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference, marginal_energy
from jeat_tf.core.checks import admit_images, check_taken
from jeat_tf.core.logits import check_head, check_logits, check_output
from jeat_tf.core.loops import input_gradient
from jeat_tf.core.types import Images, Seed


class Detection(NamedTuple):
    """How well a score separates images of the data (inside) from others (outside).

    Attributes:
      auroc: probability that an image inside scores above one outside, ties counting a half.
      aupr_in: average precision with the inside as positives; a blind score has the share of the inside.
      aupr_out: average precision with the outside as positives and the score turned round.
      fpr_at_95_tpr: share of the outside at or above the highest threshold that at least 95% of the inside reach.
    """

    auroc: float
    aupr_in: float
    aupr_out: float
    fpr_at_95_tpr: float


class Histograms(NamedTuple):
    """Counts over the same bins.

    Attributes:
      edges: float64[bins + 1].
      counts: int64[bins] by name.
    """

    edges: np.ndarray
    counts: dict[str, np.ndarray]


def ood_scores(net: Any, images: np.ndarray, *, batch_size: int = 256) -> dict[str, np.ndarray]:
    """Scores of images by name, float64[N] each; higher means more like the data.

    * `log_density`: log p(x) up to a constant, -E(x) = logsumexp_k f(x)[k] (JEM, Grathwohl et al., 2020, sec. 5.3.1).
    * `max_probability`: max_y p(y | x) (JEM sec. 5.3.2, after Hendrycks & Gimpel, 2017).
    * `approximate_mass`: -|d log p(x) / dx|_2, per [0, 1] pixel (JEM sec. 5.3.3).
    * `max_logit`: -min_y E(x, y) = max_y f(x)[y].

    The first and the last compare images of one net only: a constant added to all logits moves them.

    Args:
      net: images -> logits [B, K]; called in inference mode.
      images: float[N, H, W, C] in [0, 1].
      batch_size: images in one call of the net.

    Raises:
      ValueError: no images, images that are no pixels in [0, 1], a net that does not give logits, batch_size < 1.
    """
    if batch_size < 1:
        raise ValueError(f"expected batch_size >= 1, received {batch_size}")
    images = admit_images(images)
    check_head(net)
    check_taken(net, images)
    logits_fn = inference(net)
    check_output(logits_fn(images[:1]), least=1)
    energy_fn = marginal_energy(logits_fn)

    def look(x: Images) -> tuple[tf.Tensor, tf.Tensor]:
        slope = tf.reshape(input_gradient(energy_fn, x), [tf.shape(x)[0], -1])
        return logits_fn(x), tf.norm(slope, axis=-1)

    # An open batch dimension: one trace serves the last, smaller batch too.
    signature = [tf.TensorSpec([None, *images.shape[1:]], tf.float32)]
    compiled = tf.function(look, signature, autograph=False).get_concrete_function()
    starts = range(0, len(images), batch_size)
    parts = [compiled(tf.constant(images[i : i + batch_size], tf.float32)) for i in starts]
    # In float64 on the host: in float32 all confidences above 1 - 6e-8 would be ties.
    logits = np.concatenate([tf.cast(part[0], tf.float64) for part in parts])
    check_logits(logits, energies=True)
    norms = np.concatenate([part[1] for part in parts]).astype(np.float64)
    return {
        "log_density": scipy.special.logsumexp(logits, axis=-1),
        "max_probability": scipy.special.softmax(logits, axis=-1).max(axis=-1),
        "approximate_mass": -norms,
        "max_logit": logits.max(axis=-1),
    }


def detection(inside: np.ndarray, outside: np.ndarray) -> Detection:
    """AUROC, AUPR and FPR at 95% TPR of one score, by scikit-learn.

    Args:
      inside: float[N], scores of images of the data.
      outside: float[M], scores of other images; equal shares of both are not needed.

    Raises:
      ValueError: fewer than two scores in either set, NaN or infinity.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    inside, outside = _finite("inside", inside), _finite("outside", outside)
    scores = np.concatenate([inside, outside])
    is_inside = np.arange(len(scores)) < len(inside)
    false_positives, true_positives, _ = roc_curve(is_inside, scores, drop_intermediate=False)
    return Detection(
        auroc=float(roc_auc_score(is_inside, scores)),
        aupr_in=float(average_precision_score(is_inside, scores)),
        aupr_out=float(average_precision_score(~is_inside, -scores)),
        fpr_at_95_tpr=float(false_positives[np.argmax(true_positives >= 0.95)]),
    )


def histograms(scores: Mapping[str, np.ndarray], *, num_bins: int = 50) -> Histograms:
    """Counts of several sets of scores over bins of equal width that span all of them.

    Args:
      scores: float[N] by name, e.g. {"test": ..., "noise": ...}.
      num_bins: bins between the smallest and the largest score.

    Raises:
      ValueError: no set, fewer than two scores in one, NaN or infinity, num_bins < 1.
    """
    if not scores or num_bins < 1:
        raise ValueError(f"expected at least one set and num_bins >= 1, received {len(scores)} sets and {num_bins}")
    checked = {name: _finite(name, values) for name, values in scores.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(checked.values())), num_bins)
    return Histograms(edges, {name: np.histogram(values, edges)[0] for name, values in checked.items()})


def uniform_noise(count: int, image_shape: tuple[int, int, int], seed: Seed) -> np.ndarray:
    """float32[count, H, W, C], each value uniform in [0, 1) (Liang et al., 2018, https://arxiv.org/abs/1706.02690)."""
    return tf.random.stateless_uniform([count, *image_shape], seed, alg="philox").numpy()


def gaussian_noise(
    count: int, image_shape: tuple[int, int, int], seed: Seed, *, mean: float = 0.5, std: float = 1.0
) -> np.ndarray:
    """float32[count, H, W, C], each value Gaussian and clipped to [0, 1].

    At the defaults of Liang et al., 2018, 62% of the values are clipped to black or white.
    """
    noise = tf.random.stateless_normal([count, *image_shape], seed, mean, std, alg="philox")
    return tf.clip_by_value(noise, 0.0, 1.0).numpy()


def constant(count: int, image_shape: tuple[int, int, int], seed: Seed) -> np.ndarray:
    """float32[count, H, W, C], images of one colour each, uniform in [0, 1)^C."""
    height, width, channels = image_shape
    colours = tf.random.stateless_uniform([count, 1, 1, channels], seed, alg="philox")
    return np.tile(colours.numpy(), [1, height, width, 1])


def interpolation(images: np.ndarray, seed: Seed) -> np.ndarray:
    """Midpoints of random pairs, like images; no image is paired with itself ("Interp" in JEM table 3).

    Args:
      images: float[N, H, W, C] in [0, 1]; each is in two of the pairs.
      seed: int32[2], of the pairs.

    Raises:
      ValueError: fewer than two images, or images that are no pixels in [0, 1].
    """
    images = admit_images(images)
    if len(images) < 2:
        raise ValueError(f"expected at least 2 images to interpolate between, received {len(images)}")
    order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed, alg="philox").numpy()
    return (images[order] + images[np.roll(order, 1)]) / 2


def _finite(name: str, scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or len(scores) < 2:
        raise ValueError(f"expected at least 2 scores in {name}, received shape {list(scores.shape)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"expected finite scores in {name}, received {np.sum(~np.isfinite(scores))} NaN or infinite")
    return scores
