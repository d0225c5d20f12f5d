"""Multi steepest descent: ascent in several balls at once, by the worst step of each iteration."""

from collections.abc import Sequence

import tensorflow as tf

from jeat_tf.core.balls import Ball
from jeat_tf.core.loops import input_gradient, one_for_each, repeat
from jeat_tf.core.seeds import split
from jeat_tf.core.types import Images, LossFn, Seed


def msd(
    loss_fn: LossFn,
    x: Images,
    *,
    seed: Seed,
    balls: Sequence[Ball],
    share: float,
    num_steps: int,
    random_start: bool = True,
) -> Images:
    """Images in the union of the balls around x that raise a per-image loss (Maini et al., 2020, Algorithm 1).

    Each iteration takes one step in each ball from the same point, https://arxiv.org/abs/1909.04068, and keeps for each
    image the one of the highest loss.

    Args:
      loss_fn: images float[B, H, W, C] -> loss float[B]; raised, not lowered.
      x: float32[B, H, W, C] in [0, 1].
      seed: int32[2], of the start.
      balls: at least one.
      share: length of a step, as a share of each ball's radius.
      num_steps: gradients taken per image; each also takes a forward pass for each ball.
      random_start: begin at a random point of a ball that is drawn for each image, and not at x.

    Returns:
      x_adv: like x, inside one of the balls and in [0, 1]; no gradient flows through it.
    """

    def step(x_adv: Images, seed: Seed) -> Images:
        del seed
        return worst_step(loss_fn, x_adv, x, balls=balls, share=share)

    return repeat(step, _start(x, seed, balls) if random_start else x, seed=seed, num_steps=num_steps)


def worst_step(loss_fn: LossFn, x_adv: Images, x: Images, *, balls: Sequence[Ball], share: float) -> Images:
    """Of the steps up the loss, one in each ball around x, that of the highest loss for each image."""
    gradient = input_gradient(loss_fn, x_adv)
    best: Images | None = None
    for ball in balls:
        moved = ball.inside(x_adv + share * ball.epsilon * ball.ascent(gradient, x_adv), x)
        loss = one_for_each(loss_fn(moved))
        if best is None:
            best, highest = moved, loss
            continue
        higher = loss > highest
        best = tf.where(higher[:, None, None, None], moved, best)
        highest = tf.where(higher, loss, highest)
    assert best is not None  # there is a ball
    return best


def _start(x: Images, seed: Seed, balls: Sequence[Ball]) -> Images:
    which_seed, *seeds = split(seed, 1 + len(balls))
    which = tf.random.stateless_uniform([tf.shape(x)[0]], which_seed, 0, len(balls), tf.int32, alg="philox")
    start = x
    for i, (ball, ball_seed) in enumerate(zip(balls, seeds, strict=True)):
        start = tf.where((which == i)[:, None, None, None], ball.inside(ball.random_start(x, ball_seed), x), start)
    return start
