"""Searches that do no more than their name says: projected steps, and random noise."""

import functools
from typing import NamedTuple

import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, select_rows
from jeat_tf.attacks.search import Cost, Found, search
from jeat_tf.core.balls import Ball
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed


class _State(NamedTuple):
    x_best: tf.Tensor
    done: tf.Tensor

    @property
    def broken(self) -> tf.Tensor:
        """Claimed of every image: the last iterate is looked at once, when the final images are confirmed."""
        return tf.ones_like(self.done)


def pgd_search(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    ball: Ball,
    loss: LogitsLoss = losses.cross_entropy,
    step_size: float,
    num_steps: int,
    random_start: bool = True,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """Projected gradient ascent (Madry et al., 2018) that stops for an image at its first success.

    The steps of `pgd`, on images that are still unbroken. `loss=losses.joint_energy` is JEAT's attack (eq. 18),
    `loss=losses.margin` what many tables call C&W l-inf, one step of epsilon from x FGSM, and one of 1.25 epsilon
    from a random start FGSM-RS (Wong et al., 2020, https://arxiv.org/abs/2001.03994).

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: int32[2]; each image draws its start from this and its own content.
      ball: where x_adv may be.
      loss: one of `losses`; with targets one of its targeted ones.
      step_size: length of one step, in the ball's norm and x's pixel unit.
      num_steps: gradients taken per image.
      random_start: begin at a uniformly drawn point of the ball and not at x.
      targets: int[B], classes that a targeted loss pulls to.
      targeted: only the target counts as success; else any class but the label.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, or num_steps < 1.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps >= 1, received {num_steps}")
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=functools.partial(_begin, ball=ball, random_start=random_start),
        step=functools.partial(_step, ball=ball, loss=loss, step_size=step_size),
        num_steps=num_steps,
        begin_cost=Cost(forwards=0, gradients=0),
        step_cost=Cost(forwards=0, gradients=1),
        targets=targets,
        targeted=targeted,
    )


def noise_search(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    ball: Ball,
    num_draws: int = 100,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """Points drawn uniformly from the ball: the baseline that any attack has to beat.

    A draw's noise is the same for all images. Arguments as in `pgd_search`; targets count with `targeted` alone.

    Raises:
      ValueError: `num_draws` below 1.
    """
    if num_draws < 1:
        raise ValueError(f"expected num_draws >= 1, received {num_draws}")
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=_stay,
        step=functools.partial(_draw, ball=ball),
        num_steps=num_draws,
        begin_cost=Cost(forwards=0, gradients=0),
        step_cost=Cost(forwards=1, gradients=0),
        targets=targets,
        targeted=targeted,
    )


def _begin(oracle: Oracle, rows: Rows, *, ball: Ball, random_start: bool) -> _State:
    del oracle
    x_adv = rows.x
    if random_start:
        offsets = rows.draw(lambda shape, seed: ball.random_start(tf.zeros([1, *shape]), seed)[0])
        x_adv = tf.clip_by_value(rows.x + offsets, 0.0, 1.0)
    return _State(x_adv, tf.zeros_like(rows.labels, tf.bool))


def _step(
    oracle: Oracle,
    rows: Rows,
    state: _State,
    i: tf.Tensor,
    seed: Seed,
    *,
    ball: Ball,
    loss: LogitsLoss,
    step_size: float,
) -> _State:
    del i, seed
    look = oracle.look(loss, state.x_best, rows)
    done = state.done | look.reached
    x_adv = ball.inside(state.x_best + step_size * ball.ascent(look.gradient, state.x_best), rows.x)
    return _State(select_rows(done, state.x_best, x_adv), done)


def _stay(oracle: Oracle, rows: Rows) -> _State:
    del oracle
    return _State(rows.x, tf.zeros_like(rows.labels, tf.bool))


def _draw(oracle: Oracle, rows: Rows, state: _State, i: tf.Tensor, seed: Seed, *, ball: Ball) -> _State:
    del i
    noise = ball.random_start(tf.zeros([1, *rows.x.shape[1:]]), seed)
    x_adv = tf.clip_by_value(rows.x + noise, 0.0, 1.0)
    reached = rows.reached(oracle.logits(x_adv)) & ~state.done
    return _State(select_rows(reached, x_adv, state.x_best), state.done | reached)
