"""Square attack: random search without gradients (Andriushchenko et al., 2020, https://arxiv.org/abs/1912.00049)."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, select_rows
from jeat_tf.attacks.search import Cost, Found, search
from jeat_tf.core.balls import Ball
from jeat_tf.core.seeds import split
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

# Queries after which the share of pixels that a square covers is halved; tuned by the authors for 10,000 queries and
# used as they are for any number.
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_TINY = 1e-12


class _State(NamedTuple):
    x_best: tf.Tensor
    margin: tf.Tensor  # of x_best: above 0 where the goal is reached
    broken: tf.Tensor

    @property
    def done(self) -> tf.Tensor:
        return self.broken


def square(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    ball: Ball,
    num_queries: int = 5000,
    first_share: float = 0.8,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """One run of the Square attack: keeps a random change of a square where it lowers the margin (Algorithms 1-3).

    As in the authors' code a query's squares are the same for all images: they are drawn from the seed and the number
    of the query. Its signs are too. The start is drawn for each image.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: int32[2].
      ball: where x_adv may be.
      num_queries: forward passes after that of the start.
      first_share: share of the pixels in the first squares.
      targets: int[B], the class to reach; without, any class but the label.
      targeted: only the target counts as success.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, num_queries < 1, or for l2 and l1 images below 5 pixels.
    """
    height, width = np.shape(x)[1:3] if np.ndim(x) == 4 else (0, 0)
    if num_queries < 1:
        raise ValueError(f"expected num_queries >= 1, received {num_queries}")
    if not fits(ball, (height, width)):
        raise ValueError(too_small(ball, (height, width)))
    begin, propose = (_stripes, _linf_proposal) if ball.norm == "linf" else (_bumps, _bump_proposal)
    loss = losses.margin if targets is None else losses.target_lead
    sides = tuple(_side(query, height, width, first_share, ball.norm) for query in (0, *_HALVINGS))
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=functools.partial(_begin, ball=ball, loss=loss, first=begin),
        step=functools.partial(_step, ball=ball, loss=loss, propose=propose, sides=sides),
        num_steps=num_queries,
        begin_cost=Cost(forwards=1, gradients=0),
        step_cost=Cost(forwards=1, gradients=0),
        targets=targets,
        targeted=targeted,
    )


def fits(ball: Ball, image_shape: tuple[int, ...]) -> bool:
    """Whether images (H, W, ...) are large enough for the squares: outside l-inf, of at least 5 x 5 pixels."""
    return ball.norm == "linf" or not 0 < min(image_shape[:2]) < 5


def too_small(ball: Ball, image_shape: tuple[int, ...]) -> str:
    """The sentence about images that are too small."""
    height, width = image_shape[:2]
    return (
        f"expected images of at least 5 x 5 pixels for Square in {ball.norm}, received {height} x {width}; leave that "
        "attack out, e.g. apgd-ce, apgd-t and fab-t in place of autoattack"
    )


def _begin(oracle: Oracle, rows: Rows, *, ball: Ball, loss: LogitsLoss, first: Callable) -> _State:
    x_adv = first(rows, ball)
    logits = oracle.logits(x_adv)
    return _State(x_adv, loss(logits, rows.labels, rows.targets), rows.reached(logits))


def _step(
    oracle: Oracle,
    rows: Rows,
    state: _State,
    i: tf.Tensor,
    seed: Seed,
    *,
    ball: Ball,
    loss: LogitsLoss,
    propose: Callable,
    sides: tuple[int, ...],
) -> _State:
    phase = tf.reduce_sum(tf.cast(i > tf.constant(_HALVINGS), tf.int32))
    offset = propose(state.x_best - rows.x, phase, sides, seed, ball)
    x_adv = ball.inside(rows.x + offset, rows.x)
    logits = oracle.logits(x_adv)
    margin, reached = loss(logits, rows.labels, rows.targets), rows.reached(logits)
    keep = ((margin > state.margin) | reached) & ~state.broken
    return _State(
        x_best=select_rows(keep, x_adv, state.x_best),
        margin=tf.where(keep, margin, state.margin),
        broken=state.broken | reached,
    )


def _side(query: int, height: int, width: int, first_share: float, norm: str) -> int:
    """Side of a query's square; odd and at least 3 for l2 and l1."""
    share = first_share / 2 ** sum(query >= halving for halving in _HALVINGS)
    side = max(round(math.sqrt(share * height * width)), 1 if norm == "linf" else 3)
    if norm != "linf" and side % 2 == 0:
        side += 1
    return min(side, height, width)


def _stripes(rows: Rows, ball: Ball) -> tf.Tensor:
    """The images, changed by +-epsilon for each column and channel."""
    signs = rows.draw(lambda shape, seed: _signs((1, *shape[1:]), seed))
    return tf.clip_by_value(rows.x + ball.epsilon * signs, 0.0, 1.0)


def _linf_proposal(offset: tf.Tensor, phase: tf.Tensor, sides: tuple[int, ...], seed: Seed, ball: Ball) -> tf.Tensor:
    """The offset with +-2 epsilon added to one square, a sign for each channel; projection makes it +-epsilon."""
    height, width, channels = offset.shape[1:]
    place_seed, sign_seed = split(seed)
    windows = tf.constant(np.stack([_corner(np.ones((side, side)), height, width) for side in sides]), tf.float32)
    window = _placed(windows, phase, sides, place_seed)
    return offset + 2 * ball.epsilon * window * _signs((1, 1, channels), sign_seed)


def _bumps(rows: Rows, ball: Ball) -> tf.Tensor:
    """The images, changed by tiles of bumps of length epsilon, a sign for each image, tile and channel."""
    height, width, channels = rows.x.shape[1:]
    side = height // 5
    first = (height - side * 5) // 2
    down, across = height // side, width // side
    signs = rows.draw(lambda shape, seed: _signs((down, across, channels), seed))
    tiles = tf.repeat(tf.repeat(signs, side, axis=1), side, axis=2)
    tiles *= tf.constant(np.tile(_bump(side, ball.norm), (down, across)), tf.float32)[:, :, None]
    # The tiles start at `first`; what then lies beyond the image is cut off.
    below, right = first + down * side, first + across * side
    tiles = tf.pad(tiles, [[0, 0], [first, max(height - below, 0)], [first, max(width - right, 0)], [0, 0]])
    tiles = tiles[:, :height, :width]
    if ball.norm == "l1":
        return ball.inside(rows.x + tiles, rows.x)
    return tf.clip_by_value(rows.x + ball.epsilon * ball.ascent(tiles), 0.0, 1.0)


def _bump_proposal(offset: tf.Tensor, phase: tf.Tensor, sides: tuple[int, ...], seed: Seed, ball: Ball) -> tf.Tensor:
    """The offset with the mass of two windows, and what is missing to epsilon, moved to one as a new bump."""
    height, width, channels = offset.shape[1:]
    place_seed, other_seed, sign_seed, turn_seed = split(seed, 4)
    bumps = np.stack([_corner(_bump(side, ball.norm), height, width) for side in sides])
    turned = np.stack([_corner(_bump(side, ball.norm).T, height, width) for side in sides])
    windows = tf.constant(np.stack([_corner(np.ones((side, side)), height, width) for side in sides]), tf.float32)
    turn = tf.random.stateless_uniform([], turn_seed, alg="philox") > 0.5
    bump = _placed(tf.where(turn, tf.constant(turned, tf.float32), bumps), phase, sides, place_seed)
    window = _placed(windows, phase, sides, place_seed)
    other = _placed(windows, phase, sides, other_seed)

    def length(part: tf.Tensor) -> tf.Tensor:
        if ball.norm == "l1":
            return tf.reduce_sum(tf.abs(part), axis=(1, 2), keepdims=True)
        return tf.sqrt(tf.reduce_sum(tf.square(part), axis=(1, 2), keepdims=True))

    moved = tf.maximum(window, other)
    inside = offset * window
    new = bump * _signs((1, 1, channels), sign_seed) + inside / (_TINY + length(inside))
    if ball.norm == "l1":  # as in the authors' code, too long by a factor of channels before it is projected
        unused = tf.maximum(ball.epsilon - tf.reduce_sum(length(offset), axis=-1, keepdims=True), 0.0)
        new *= (unused + channels * length(offset * moved)) / (_TINY + length(new))
        return offset * (1 - moved) + new
    unused = tf.maximum(ball.epsilon**2 - tf.reduce_sum(tf.square(length(offset)), axis=-1, keepdims=True), 0.0)
    new *= tf.sqrt(unused / channels + tf.square(length(offset * moved))) / (_TINY + length(new))
    return ball.epsilon * ball.ascent(offset * (1 - moved) + new)


def _placed(corners: tf.Tensor, phase: tf.Tensor, sides: tuple[int, ...], seed: Seed) -> tf.Tensor:
    """float32[H, W, 1]: the pattern of a phase, which lies at the upper left, moved to a random place.

    As in the authors' code the last place of each axis is never drawn.
    """
    corner = corners[phase]
    free = tf.cast(tf.shape(corner) - tf.gather(tf.constant(sides), phase), tf.float32)
    place = tf.cast(tf.random.stateless_uniform([2], seed, alg="philox") * free, tf.int32)
    return tf.roll(corner, place, axis=[0, 1])[:, :, None]


def _corner(pattern: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(pattern, [(0, height - pattern.shape[0]), (0, width - pattern.shape[1])])


def _bump(side: int, norm: str) -> np.ndarray:
    """Two halves of opposite sign, each highest in its middle, of length 1 in the norm (Algorithm 3's eta)."""
    bump = np.concatenate([_half_bump(side // 2, side, norm), -_half_bump(side - side // 2, side, norm)])
    return bump / _length(bump, norm)


def _half_bump(height: int, width: int, norm: str) -> np.ndarray:
    half = np.zeros((height, width))
    top, left = height // 2, width // 2
    for ring in range(max(height // 2, width // 2) + 1):
        rows, columns = (slice(max(at - ring, 0), at + ring + 1) for at in (top, left))
        half[rows, columns] += 1 / (ring + 1) ** (4 if norm == "l1" else 2)
    return half / max(_length(half, norm), _TINY)


def _length(pattern: np.ndarray, norm: str) -> float:
    return float(np.abs(pattern).sum() if norm == "l1" else np.sqrt(np.square(pattern).sum()))


def _signs(shape: tuple[int, ...], seed: Seed) -> tf.Tensor:
    return tf.sign(tf.random.stateless_uniform(shape, seed, -1.0, 1.0, alg="philox"))
