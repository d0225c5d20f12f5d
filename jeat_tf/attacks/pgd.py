"""Projected gradient ascent and its one-step forms."""

from collections.abc import Callable

import tensorflow as tf

from jeat_tf.core.balls import Ball
from jeat_tf.core.loops import input_gradient, repeat
from jeat_tf.core.types import Images, LossFn, Seed

Bounds = tuple[float, float]


def pgd(
    loss_fn: LossFn,
    x: Images,
    *,
    seed: Seed,
    ball: Ball,
    step_size: float,
    num_steps: int,
    start: Callable[[Images, Seed], Images] | None = None,
    bounds: Bounds | None = (0.0, 1.0),
) -> Images:
    """Images in the ball around x that raise a per-image loss, by projected ascent.

    Repeats x_adv = clip(project(x_adv + step_size * ascent(grad loss_fn(x_adv)))),
    sec. 2.1 of Madry et al., 2018, https://arxiv.org/abs/1706.06083; JEAT eq. 3.

    Args:
      loss_fn: images float[B, H, W, C] -> loss float[B]; raised, not lowered.
      x: float32[B, H, W, C].
      seed: int32[2], used by `start` alone.
      ball: where x_adv may be.
      step_size: length of one step, in the ball's norm and x's pixel unit.
      num_steps: gradients taken per image.
      start: (x, seed) -> first iterate, e.g. `ball.random_start`; None starts at x.
      bounds: pixel range of x_adv; None leaves it open.

    Returns:
      x_adv: like x, inside the ball and the bounds; no gradient flows through it.
    """

    def inside(x_adv: Images) -> Images:
        if bounds == (0.0, 1.0):
            return ball.inside(x_adv, x)
        x_adv = ball.project(x_adv, x)
        return x_adv if bounds is None else tf.clip_by_value(x_adv, *bounds)

    def step(x_adv: Images, seed: Seed) -> Images:
        del seed
        gradient = input_gradient(loss_fn, x_adv)
        return inside(x_adv + step_size * ball.ascent(gradient, x_adv if bounds == (0.0, 1.0) else None))

    first = x if start is None else inside(start(x, seed))
    return repeat(step, first, seed=seed, num_steps=num_steps)


def fgsm_beside_noise(loss_fn: LossFn, x: Images, *, seed: Seed, ball: Ball, bounds: Bounds | None = None) -> Images:
    """project(noise + epsilon * ascent(grad loss_fn(x))): JEAT's Algorithm 1 to the letter.

    The gradient is taken at x itself, not at x plus the noise, and pixels are not clipped by default. The
    form that Fast adversarial training uses, and the one to prefer, is `pgd` with `start=ball.random_start`,
    `step_size=ball.epsilon` and one step.
    """
    direction = ball.ascent(input_gradient(loss_fn, x))
    x_adv = ball.project(ball.random_start(x, seed) + ball.epsilon * direction, x)
    return tf.stop_gradient(x_adv if bounds is None else tf.clip_by_value(x_adv, *bounds))
