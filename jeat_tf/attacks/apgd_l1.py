"""Auto-PGD in l1: sparse steps in balls that shrink to epsilon (Croce & Hein, 2021, https://arxiv.org/abs/2103.01208).

A step moves the pixels of the largest gradients by the same length. How many they are follows from how many the best
point so far has changed. The run begins in a ball of 3 epsilon, continues in 2 epsilon and ends in epsilon; only there
a misclassified image is a success.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, select_rows
from jeat_tf.core.balls import Ball
from jeat_tf.core.l1 import inside_l1_ball, sparse_signs
from jeat_tf.core.types import Seed

_SCALES = (3.0, 2.0, 1.0)  # radii of the stages, in epsilon
_SHARES = (0.3, 0.3)  # of the steps, in the stages before the last
_SPARSER = 1.5  # a step moves so many times fewer pixels than the best point has changed
_FEWER = 0.95  # share of the changed pixels below which the best point has become sparser
_SHRINK = 1.5  # of the step size, while it has not
_LEAST_STEP = 0.1  # of the stage's radius
_ROUNDING = 1e-6  # share of the radius that is left to the rounding of a sum


class Stage(NamedTuple):
    """A ball of `scale` epsilon, which look number `start` begins, and looks between two checks of the step size."""

    scale: float
    start: int
    window: int


class State(NamedTuple):
    """One row for each image; `changed` is the number of changed pixels of the best point at the last check."""

    x_adv: tf.Tensor
    gradient: tf.Tensor
    moved: tf.Tensor  # int32[B], pixels that a step moves
    changed: tf.Tensor
    step_size: tf.Tensor
    x_best: tf.Tensor
    gradient_best: tf.Tensor
    loss_best: tf.Tensor
    broken: tf.Tensor

    @property
    def done(self) -> tf.Tensor:
        """bool[B], nothing is left to do."""
        return self.broken


def stages(num_steps: int) -> tuple[Stage, ...]:
    """The stages of a run of `num_steps` steps; each begins with one more look, at its start.

    Fewer steps than stages are all taken in the ball itself.
    """
    if num_steps < len(_SCALES):
        return (Stage(1.0, -1, 1),)
    lengths = [math.ceil(share * num_steps) for share in _SHARES]
    lengths.append(num_steps - sum(lengths))
    starts = np.cumsum([0, *(length + 1 for length in lengths[:-1])]) - 1  # the first look is that of `begin`
    return tuple(
        Stage(scale, int(start), max(int(0.04 * length), 1))
        for scale, start, length in zip(_SCALES, starts, lengths, strict=True)
    )


def begin(oracle: Oracle, rows: Rows, *, ball: Ball, loss: LogitsLoss, stages: tuple[Stage, ...]) -> State:
    """Noise projected on the first ball and [0, 1]."""
    noise = rows.draw(lambda shape, seed: tf.random.stateless_normal(shape, seed, alg="philox"))
    radius = stages[0].scale * ball.epsilon
    x_adv = inside_l1_ball(rows.x + noise, rows.x, radius * (1 - _ROUNDING))
    look = oracle.look(loss, x_adv, rows)
    changed = _changed(x_adv, rows)
    return State(
        x_adv=x_adv,
        gradient=look.gradient,
        moved=_sparser(changed),
        changed=changed,
        step_size=tf.fill(tf.shape(look.loss), radius),
        x_best=x_adv,
        gradient_best=look.gradient,
        loss_best=look.loss,
        broken=look.reached & (len(stages) == 1),
    )


def step(
    oracle: Oracle,
    rows: Rows,
    state: State,
    i: tf.Tensor,
    seed: Seed,
    *,
    ball: Ball,
    loss: LogitsLoss,
    stages: tuple[Stage, ...],
) -> State:
    """One look: at the next point, or at the best one so far projected on the ball of the stage that begins."""
    del seed
    starts = tf.constant([stage.start for stage in stages])
    index = tf.reduce_sum(tf.cast(i >= starts, tf.int32)) - 1
    since = i - starts[index]
    starting = (since == 0) & (index > 0)
    last = index == len(stages) - 1
    radius = ball.epsilon * tf.constant([stage.scale for stage in stages])[index]

    ahead = state.x_adv + state.step_size[:, None, None, None] * sparse_signs(state.gradient, state.moved)
    x_adv = inside_l1_ball(tf.cond(starting, lambda: state.x_best, lambda: ahead), rows.x, radius * (1 - _ROUNDING))
    look = oracle.look(loss, x_adv, rows)
    reached = look.reached & last

    better = ((look.loss > state.loss_best) | starting) & ~state.broken
    x_best = select_rows(better | (reached & ~state.broken), x_adv, state.x_best)
    gradient_best = select_rows(better, look.gradient, state.gradient_best)
    loss_best = tf.where(better, look.loss, state.loss_best)

    window = tf.constant([stage.window for stage in stages])[index]
    check = tf.fill(tf.shape(better), starting | (since % window == 0))
    changed = _changed(x_best, rows)
    fewer = check & (tf.cast(changed, tf.float32) < _FEWER * tf.cast(state.changed, tf.float32))
    restart = fewer & ~starting
    smaller = tf.maximum(state.step_size / _SHRINK, _LEAST_STEP * radius)
    step_size = tf.where(fewer | starting, radius, tf.where(check, smaller, state.step_size))
    return State(
        x_adv=select_rows(restart, x_best, x_adv),
        gradient=select_rows(restart, gradient_best, look.gradient),
        moved=tf.where(check, _sparser(changed), state.moved),
        changed=tf.where(check, changed, state.changed),
        step_size=step_size,
        x_best=x_best,
        gradient_best=gradient_best,
        loss_best=loss_best,
        broken=state.broken | reached,
    )


def _changed(x_adv: tf.Tensor, rows: Rows) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(x_adv != rows.x, tf.int32), axis=(1, 2, 3))


def _sparser(changed: tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.cast(tf.cast(changed, tf.float32) / _SPARSER, tf.int32), 1)
