"""Auto-PGD: projected ascent that chooses its own step size (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks import apgd_l1, losses
from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, select_rows
from jeat_tf.attacks.search import Cost, Found, search
from jeat_tf.core.balls import Ball
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

_MOMENTUM = 0.75  # alpha of Algorithm 1
_RISES = 0.75  # rho: share of a window's steps that have to raise the loss


class _State(NamedTuple):
    x_adv: tf.Tensor
    x_old: tf.Tensor
    gradient: tf.Tensor
    loss: tf.Tensor
    rises: tf.Tensor  # steps of this window that raised the loss
    step_size: tf.Tensor
    halved: tf.Tensor  # at the last checkpoint
    loss_checked: tf.Tensor  # best loss at the last checkpoint
    x_best: tf.Tensor
    gradient_best: tf.Tensor
    loss_best: tf.Tensor
    broken: tf.Tensor

    @property
    def done(self) -> tf.Tensor:
        return self.broken


def apgd(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    ball: Ball,
    loss: LogitsLoss = losses.cross_entropy,
    num_steps: int = 100,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """One run of Auto-PGD (Algorithm 1 of Croce & Hein, 2020), which stops for an image at its first success.

    It starts on the surface of the ball with steps of 2 epsilon, and halves them at checkpoints where the loss rose too
    rarely or its best value has not improved, going back to the best point. The authors' code, and this one, compares
    the first step's loss with 0 and not with the start's. In l1 it takes sparse steps instead; see `apgd_l1`.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: int32[2]; each image draws its start from this and its own content.
      ball: where x_adv may be.
      loss: one of `losses`; with targets one of its targeted ones.
      num_steps: gradients taken after that at the start.
      targets: int[B], classes that a targeted loss pulls to.
      targeted: only the target counts as success; else any class but the label.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, or num_steps < 1.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps >= 1, received {num_steps}")
    begin: Callable = _begin
    step: Callable = functools.partial(_step, num_steps=num_steps)
    looks = num_steps
    if ball.norm == "l1":
        stages = apgd_l1.stages(num_steps)
        begin, step = (functools.partial(fn, stages=stages) for fn in (apgd_l1.begin, apgd_l1.step))
        looks = num_steps + len(stages) - 1
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=functools.partial(begin, ball=ball, loss=loss),
        step=functools.partial(step, ball=ball, loss=loss),
        num_steps=looks,
        begin_cost=Cost(forwards=0, gradients=1),
        step_cost=Cost(forwards=0, gradients=1),
        targets=targets,
        targeted=targeted,
    )


def _begin(oracle: Oracle, rows: Rows, *, ball: Ball, loss: LogitsLoss) -> _State:
    x_adv = tf.clip_by_value(rows.x + ball.epsilon * rows.draw(ball.random_direction), 0.0, 1.0)
    look = oracle.look(loss, x_adv, rows)
    return _State(
        x_adv=x_adv,
        x_old=x_adv,
        gradient=look.gradient,
        loss=tf.zeros_like(look.loss),
        rises=tf.zeros_like(rows.labels),
        step_size=tf.fill(tf.shape(look.loss), 2.0 * ball.epsilon),
        halved=tf.ones_like(look.reached),
        loss_checked=look.loss,
        x_best=x_adv,
        gradient_best=look.gradient,
        loss_best=look.loss,
        broken=look.reached,
    )


def _step(
    oracle: Oracle,
    rows: Rows,
    state: _State,
    i: tf.Tensor,
    seed: Seed,
    *,
    ball: Ball,
    loss: LogitsLoss,
    num_steps: int,
) -> _State:
    del seed

    def inside(x_adv: Images) -> Images:
        return ball.inside(x_adv, rows.x)

    share = tf.where(i > 0, _MOMENTUM, 1.0)
    ahead = inside(state.x_adv + state.step_size[:, None, None, None] * ball.ascent(state.gradient))
    x_adv = inside(state.x_adv + share * (ahead - state.x_adv) + (1 - share) * (state.x_adv - state.x_old))
    look = oracle.look(loss, x_adv, rows)

    better = (look.loss > state.loss_best) & ~state.broken
    first_success = look.reached & ~state.broken
    x_best = select_rows(better | first_success, x_adv, state.x_best)
    gradient_best = select_rows(better, look.gradient, state.gradient_best)
    loss_best = tf.where(better, look.loss, state.loss_best)
    rises = state.rises + tf.cast(look.loss > state.loss, tf.int32)

    window = tf.gather(tf.constant(_windows(num_steps)), i)
    checkpoint = window > 0
    rare = tf.cast(rises, tf.float32) <= _RISES * tf.cast(window, tf.float32)
    stalled = ~state.halved & (state.loss_checked >= loss_best)
    halve = checkpoint & (rare | stalled)
    return _State(
        x_adv=select_rows(halve, x_best, x_adv),
        x_old=state.x_adv,
        gradient=select_rows(halve, gradient_best, look.gradient),
        loss=look.loss,
        rises=tf.where(checkpoint, tf.zeros_like(rises), rises),
        step_size=tf.where(halve, state.step_size / 2, state.step_size),
        halved=tf.where(checkpoint, halve, state.halved),
        loss_checked=tf.where(checkpoint, loss_best, state.loss_checked),
        x_best=x_best,
        gradient_best=gradient_best,
        loss_best=loss_best,
        broken=state.broken | look.reached,
    )


def _windows(num_steps: int) -> np.ndarray:
    """int32[num_steps]: at a checkpoint the number of steps since the last one, 0 elsewhere (sec. 3 of the paper)."""
    window = max(int(0.22 * num_steps), 1)
    shrink, least = max(int(0.03 * num_steps), 1), max(int(0.06 * num_steps), 1)
    at = np.zeros(num_steps, np.int32)
    step = window - 1
    while step < num_steps:
        at[step] = window
        window = max(window - shrink, least)
        step += window
    return at
