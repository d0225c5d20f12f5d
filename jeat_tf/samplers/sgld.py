"""Langevin chains down an energy."""

from collections.abc import Callable

import tensorflow as tf

from jeat_tf.core.loops import input_gradient, repeat
from jeat_tf.core.types import EnergyFn, Images, Seed
from jeat_tf.samplers.walks import langevin, run, shaken


def sgld(
    energy_fn: EnergyFn,
    x: Images,
    *,
    seed: Seed,
    step_size: float,
    noise_std: float,
    num_steps: int,
    clip_gradient: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Images:
    """Images after a Langevin chain x <- x - step_size * grad E(x) + noise_std * N(0, I).

    With step_size = alpha / 2 and noise_std = sqrt(alpha) this is stochastic gradient
    Langevin dynamics, JEAT eq. 17 and Welling & Teh, 2011. JEM, and every working system after it, sets the
    two apart (1.0 and 0.01 in [-1, 1] units): such a chain does *not* sample from exp(-E); it is a noisy
    descent that stops where the drift and the flatness of the energy let it.

    Args:
      energy_fn: images float[B, H, W, C] -> energy float[B]; lowered.
      x: float32[B, H, W, C], first iterate.
      seed: int32[2].
      step_size: factor of the gradient, for [0, 1] pixels; `units.gradient_step_from_symmetric` converts.
      noise_std: standard deviation of the noise of each step, in [0, 1] pixels.
      num_steps: gradients taken per image.
      clip_gradient: bound on each entry of the gradient (the proximal chain of JEM++); None leaves it free.
      bounds: pixel range kept after each step; None leaves it open, as JEM does.

    Returns:
      x: like x; no gradient flows through it.
    """

    walk = langevin(step_size=step_size, noise_std=noise_std, clip_gradient=clip_gradient, bounds=bounds)
    return run(walk, energy_fn, x, seed=seed, num_steps=num_steps)


def split_sgld(
    stem_fn: Callable[[Images], tf.Tensor],
    head_energy_fn: Callable[[tf.Tensor], tf.Tensor],
    x: Images,
    *,
    seed: Seed,
    step_size: float,
    noise_std: float,
    num_steps: int,
    inner_steps: int,
    clip_gradient: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Images:
    """Images after M outer steps of the split-network chain of JEM++ (Yang & Ji, 2021, Algorithm 1).

    Each outer step runs the whole net once for p = dE/dh at h = stem(x); then `inner_steps` times
    x <- x - step_size / inner_steps * clip(d sum(p * stem(x)) / dx), which runs the stem alone; then the noise is
    added. JEM++'s code gives the inner size: 0.2 with 5 inner steps is step_size 1 here.

    Args:
      stem_fn: images -> hidden float[B, ...].
      head_energy_fn: hidden -> energy float[B].
      x: float32[B, H, W, C].
      seed: int32[2].
      step_size: of one outer step, as in `sgld`.
      noise_std: as in `sgld`, once an outer step.
      num_steps: M, gradients of the whole net.
      inner_steps: N, gradients of the stem for each of them.
      clip_gradient: as in `sgld`, for the inner gradients.
      bounds: as in `sgld`, kept after each inner step.

    Returns:
      x: like x; no gradient flows through it.
    """

    def step(x: Images, seed: Seed) -> Images:
        p = input_gradient(head_energy_fn, stem_fn(x))

        def linearised(x: Images) -> tf.Tensor:
            hidden = stem_fn(x)
            return tf.reduce_sum(p * hidden, axis=list(range(1, len(hidden.shape))))

        x = sgld(
            linearised,
            x,
            seed=seed,
            step_size=step_size / inner_steps,
            noise_std=0.0,
            num_steps=inner_steps,
            clip_gradient=clip_gradient,
            bounds=bounds,
        )
        return shaken(x, seed, noise_std, bounds)

    return repeat(step, x, seed=seed, num_steps=num_steps)
