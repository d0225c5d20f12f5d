"""Orders of the classes that targeted attacks try, the most promising first."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jeat_tf.attacks import losses
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.search import gradients
from jeat_tf.core.seeds import per_image

_RANKED = 100  # logits that MALT ranks at most


class Order(NamedTuple):
    """How targets are ordered.

    Attributes:
      name: description for reports.
      rank: (oracle, x, labels, logits) -> int[B, K - 1]: all classes but the label, the most promising target first.
      gradients: K -> gradients that this takes of each image.
    """

    name: str
    rank: Callable[[Oracle, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    gradients: Callable[[int], int]


def _by_logit(oracle: Oracle, x: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    del oracle, x
    others = logits.astype(np.float64)
    others[np.arange(len(labels)), labels] = -np.inf
    return np.argsort(-others, axis=-1, kind="stable")[:, :-1].astype(np.int32)


def _by_malt(oracle: Oracle, x: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Least margin per slope first (Melamed et al., 2024, https://arxiv.org/abs/2407.02240).

    Of many classes the 100 with the largest logits are ranked; the others follow by logit.
    """
    others, rest = np.split(_by_logit(oracle, x, labels, logits), [_RANKED], axis=1)
    toward = (gradients(oracle, losses.targeted_margin, x, labels, targets) for targets in others.T)
    slopes = np.stack([np.abs(gradient).sum(axis=(1, 2, 3)) for gradient in toward], axis=1)
    margins = logits[np.arange(len(labels)), labels][:, None] - np.take_along_axis(logits, others, axis=1)
    order = np.argsort(margins / np.maximum(slopes, 1e-30), axis=1, kind="stable")
    return np.concatenate([np.take_along_axis(others, order, axis=1), rest], axis=1)


def _next(oracle: Oracle, x: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    del oracle, x
    classes = logits.shape[-1]
    return ((np.asarray(labels)[:, None] + np.arange(1, classes)) % classes).astype(np.int32)


def shuffled(seed: int) -> Order:
    """The other classes in an order that is drawn for each image, from the seed and the image's content."""

    def rank(oracle: Oracle, x: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        others = _next(oracle, x, labels, logits)
        seeds = per_image(np.array([seed, 11]), x).view(np.uint32)
        draws = (np.random.Generator(np.random.Philox(int(a) << 32 | int(b))) for a, b in seeds)
        return np.stack([draw.permutation(row) for draw, row in zip(draws, others, strict=True)])

    return Order("random", rank, lambda classes: 0)


by_logit = Order("the largest logits of the image first", _by_logit, lambda classes: 0)
by_malt = Order(
    "the least logit difference per l1 norm of its gradient first (MALT), of the 100 largest logits",
    _by_malt,
    lambda classes: min(classes - 1, _RANKED),
)
by_class = Order("the next class first, after the last one the first", _next, lambda classes: 0)
