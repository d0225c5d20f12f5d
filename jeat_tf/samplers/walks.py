"""Chains as single steps, so that they can be watched on the way, held to a condition, stopped and resumed."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.core.loops import advance, input_gradient
from jeat_tf.core.norms import gaussian_start, l2
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import EnergyFn, Images, Seed

Memory = Any
"""What a walk carries from step to step beside its images: a tensor or any nest of tensors, () for nothing."""


class Walk(NamedTuple):
    """How a chain moves.

    Attributes:
      begin: (energy_fn, x) -> memory.
      step: (energy_fn, x, memory, seed) -> (x, memory).
    """

    begin: Callable[[EnergyFn, Images], Memory]
    step: Callable[[EnergyFn, Images, Memory, Seed], tuple[Images, Memory]]

    def advance(
        self,
        energy_fn: EnergyFn,
        x: Images,
        memory: Memory,
        *,
        seed: Seed,
        start: int | tf.Tensor,
        stop: int | tf.Tensor,
    ) -> tuple[Images, Memory]:
        """Steps start .. stop - 1 as one graph loop; cut anywhere, the same steps."""

        def step(state: tuple[Images, Memory], i: tf.Tensor) -> tuple[Images, Memory]:
            return self.step(energy_fn, *state, fold_in(seed, i))

        return advance(step, (x, memory), start, stop)


def run(walk: Walk, energy_fn: EnergyFn, x: Images, *, seed: Seed, num_steps: int | tf.Tensor) -> Images:
    """Images after `num_steps` steps of a walk; no gradient flows through them."""
    x, _ = walk.advance(energy_fn, x, walk.begin(energy_fn, x), seed=seed, start=0, stop=num_steps)
    return tf.stop_gradient(x)


def langevin(
    *,
    step_size: float,
    noise_std: float,
    clip_gradient: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Walk:
    """x <- x - step_size * grad E(x) + noise_std * N(0, I): what `sgld` repeats; its docstring has the arguments."""

    def step(energy_fn: EnergyFn, x: Images, memory: Memory, seed: Seed) -> tuple[Images, Memory]:
        gradient = _clipped(input_gradient(energy_fn, x), clip_gradient)
        return shaken(x - step_size * gradient, seed, noise_std, bounds), memory

    return Walk(lambda energy_fn, x: (), step)


def momentum(
    *,
    step_size: float,
    noise_std: float,
    decay: float = 0.9,
    clip_gradient: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Walk:
    """v <- decay * v + grad E(x), x <- x - step_size * v + noise_std * N(0, I), from v = 0.

    A step goes as far as one of step_size / (1 - decay) without momentum, and averages over ripples of the energy:
    with starts from class PCA it is what Mirza et al., 2024 (WEAT) draw from any robust classifier.

    Args:
      step_size: factor of the velocity, for [0, 1] pixels.
      noise_std: standard deviation of each step's noise, in pixels.
      decay: in [0, 1); 0 is `langevin`.
      clip_gradient: bound on each entry of the gradient.
      bounds: pixel range kept after each step.
    """

    def step(energy_fn: EnergyFn, x: Images, velocity: Memory, seed: Seed) -> tuple[Images, Memory]:
        velocity = decay * velocity + _clipped(input_gradient(energy_fn, x), clip_gradient)
        return shaken(x - step_size * velocity, seed, noise_std, bounds), velocity

    return Walk(lambda energy_fn, x: tf.zeros_like(x), step)


def normalized(*, step_size: float, bounds: tuple[float, float] | None = None) -> Walk:
    """x <- x - step_size * grad E(x) / |grad E(x)|: every step has the same l2 length, and there is no noise.

    Args:
      step_size: l2 length of a step over all values of an image, in pixels.
      bounds: pixel range kept after each step, which may shorten it.
    """
    direction = l2(math.inf).ascent

    def step(energy_fn: EnergyFn, x: Images, memory: Memory, seed: Seed) -> tuple[Images, Memory]:
        return shaken(x - step_size * direction(input_gradient(energy_fn, x), None), seed, 0.0, bounds), memory

    return Walk(lambda energy_fn, x: (), step)


def annealed(
    *,
    step_sizes: tuple[float, float],
    noise_stds: tuple[float, float],
    num_steps: int,
    clip_gradient: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Walk:
    """A Langevin walk whose step and noise go from their first to their last value, in equal ratios over `num_steps`.

    Args:
      step_sizes: first and last, above 0.
      noise_stds: first and last; both above 0, or both 0. `Annealed` checks both.
      num_steps: steps from first to last; beyond, they stay at the last.
      clip_gradient: bound on each entry of the gradient.
      bounds: pixel range kept after each step.
    """

    def step(energy_fn: EnergyFn, x: Images, i: Memory, seed: Seed) -> tuple[Images, Memory]:
        done = tf.minimum(tf.cast(i, tf.float32) / max(num_steps - 1, 1), 1.0)
        gradient = _clipped(input_gradient(energy_fn, x), clip_gradient)
        x = shaken(x - between(step_sizes, done) * gradient, seed, between(noise_stds, done), bounds)
        return x, i + 1

    return Walk(lambda energy_fn, x: tf.constant(0), step)


def between(pair: tuple[float, float], done: float | tf.Tensor) -> float | tf.Tensor:
    """What is reached on the way from one number to another in equal ratios, `done` of it, in 0 .. 1."""
    return pair[0] * (pair[1] / pair[0]) ** done if pair[0] else 0.0


def projected(walk: Walk, project: Callable[[Images], Images]) -> Walk:
    """The walk with its images brought back to a condition after each step, e.g. known pixels to their values."""

    def step(energy_fn: EnergyFn, x: Images, memory: Memory, seed: Seed) -> tuple[Images, Memory]:
        x, memory = walk.step(energy_fn, x, memory, seed)
        return project(x), memory

    return Walk(walk.begin, step)


class Lowest(NamedTuple):
    """The images where their energy was lowest, that energy float32[B], and int32[B] steps since."""

    x: Images
    energy: tf.Tensor
    since: tf.Tensor


def stopping(walk: Walk, patience: int) -> Walk:
    """The walk, which stops an image after `patience` steps that did not lower its energy, where it was lowest.

    Each step takes one more look at the energy. When all images have stopped, steps cost nothing.
    """

    def begin(energy_fn: EnergyFn, x: Images) -> Memory:
        energy = energy_fn(x)
        return walk.begin(energy_fn, x), Lowest(x, energy, tf.zeros(tf.shape(energy), tf.int32))

    def step(energy_fn: EnergyFn, x: Images, memory: Memory, seed: Seed) -> tuple[Images, Memory]:
        inner, lowest = memory
        stopped = lowest.since >= patience

        def go() -> tuple[Images, Memory]:
            moved, carried = walk.step(energy_fn, x, inner, seed)
            energy = energy_fn(moved)
            better = (energy < lowest.energy) & ~stopped
            since = tf.where(better, 0, lowest.since + 1)
            found = Lowest(_rows(better, moved, lowest.x), tf.where(better, energy, lowest.energy), since)
            return _rows(since >= patience, found.x, moved), (carried, found)

        return tf.cond(tf.reduce_all(stopped), lambda: (x, memory), go)

    return Walk(begin, step)


def _rows(chosen: tf.Tensor, images: Images, others: Images) -> Images:
    return tf.compat.v1.where(chosen, images, others)  # the broadcasting tf.where is slow on a CPU


def shaken(x: Images, seed: Seed, noise_std: float | tf.Tensor, bounds: tuple[float, float] | None) -> Images:
    """How a step ends: noise, then the pixel range."""
    if not isinstance(noise_std, float | int) or noise_std:
        x = gaussian_start(x, seed, std=noise_std)
    return x if bounds is None else tf.clip_by_value(x, *bounds)


def _clipped(gradient: tf.Tensor, bound: float | None) -> tf.Tensor:
    return gradient if bound is None else tf.clip_by_value(gradient, -bound, bound)
