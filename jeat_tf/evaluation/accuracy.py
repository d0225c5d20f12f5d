"""Accuracy of a net as it is and under attack, image by image."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks import inference
from jeat_tf.data import check_images, check_labels
from jeat_tf.norms import Ball
from jeat_tf.seeds import fold_in
from jeat_tf.types import Attack, Surrogate

_TOLERANCE = 1e-6  # rounding of x + epsilon in float32


class Verdicts(NamedTuple):
    """Attacked images, one entry each.

    Attributes:
      correct: bool[N], still classified as labelled.
      distance: float32[N], from the image to x_adv in the ball's norm.
    """

    correct: np.ndarray
    distance: np.ndarray


def clean_verdicts(net: Any, batches: Iterable) -> Verdicts:
    """Which images the net classifies as labelled.

    Args:
      net: images -> logits.
      batches: (images float32[B, H, W, C] in [0, 1], labels int[B]).

    Raises:
      ValueError: images that are not pixels in [0, 1], or labels that are not classes of the net.
    """
    correct = np.concatenate([np.argmax(net(x, training=False), -1) == y for x, y in _checked(net, batches)])
    return Verdicts(correct, np.zeros(len(correct), np.float32))


def attacked_verdicts(
    net: Any, surrogate: Surrogate, attack: Attack, ball: Ball, batches: Iterable, *, seed: int
) -> Verdicts:
    """Which images the net still classifies as labelled after the attack.

    Args:
      net: images -> logits.
      surrogate: what the attack raises.
      attack: (loss_fn, x, seed) -> x_adv.
      ball: where x_adv has to be; checked for every image, as are the bounds [0, 1].
      batches: (images float32[B, H, W, C] in [0, 1], labels int[B]).
      seed: the batch of index i uses fold_in(seed, i).

    Raises:
      ValueError: images that are not pixels in [0, 1], or labels that are not classes of the net.
      RuntimeError: the attack left the ball or the bounds.
    """
    logits_fn = inference(net)

    # One trace for all batches, the smaller last one too.
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *net.input_shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([2], tf.int32),
        ],
        autograph=False,
    )
    def run(x: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        x_adv = attack(surrogate(logits_fn, labels), x, seed=seed)
        predicted = tf.argmax(logits_fn(x_adv), axis=-1, output_type=labels.dtype)
        outside = tf.maximum(tf.reduce_max(x_adv) - 1.0, -tf.reduce_min(x_adv))
        return predicted == labels, ball.distance(x_adv, x), outside

    correct, distance = [], []
    for i, (x, labels) in enumerate(_checked(net, batches)):
        batch_correct, batch_distance, outside = run(x, labels, fold_in(tf.constant([seed, 5]), i))
        if np.max(batch_distance) > ball.epsilon + _TOLERANCE or outside > _TOLERANCE:
            raise RuntimeError(
                f"the attack left its {ball.name} ball of {ball.epsilon:g} (reached {np.max(batch_distance):g}) or "
                f"the pixel range (by {float(outside):g})"
            )
        correct.append(batch_correct.numpy())
        distance.append(batch_distance.numpy())
    return Verdicts(np.concatenate(correct), np.concatenate(distance))


def _checked(net: Any, batches: Iterable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for x, labels in batches:
        x, labels = np.asarray(x), np.asarray(labels)
        check_images(x)
        check_labels(labels, net.output_shape[-1])
        yield x, labels


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """95% confidence interval of a proportion (Wilson, 1927)."""
    z = 1.959963984540054
    share = successes / count
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, center - half), min(1.0, center + half)
