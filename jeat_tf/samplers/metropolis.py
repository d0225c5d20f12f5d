"""Walks with an acceptance step: they leave exp(-E / temperature) as it is, whatever their step size.

The draws are TensorFlow Probability's, which leaves the algorithm to the device: a seed repeats a chain on one kind of
device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.core.loops import one_for_each
from jeat_tf.core.types import EnergyFn, Images, Seed
from jeat_tf.samplers.walks import Memory, Walk

Bounds = tuple[float, float]


class Acceptance(NamedTuple):
    """The memory of a Metropolis walk.

    Attributes:
      position: float32[B, H, W, C], where the chain is; the images returned are its mirror images within bounds.
      results: of TFP's kernel, with the energy and the gradient there.
      accepted: float32[B], proposals that each image has taken.
      proposed: float32[], steps taken so far.
    """

    position: Images
    results: Any
    accepted: tf.Tensor
    proposed: tf.Tensor


def mala(step_size: float, temperature: float = 1.0, bounds: Bounds | None = None) -> Walk:
    """Metropolis-adjusted Langevin: a step of `coupled(step_size)`, taken or refused for each image on its own.

    Proposes x - step_size / (2 temperature) * grad E(x) + sqrt(step_size) * N(0, I) and accepts it with the probability
    that makes exp(-E / temperature) stationary (Roberts & Tweedie, 1996; TFP's `MetropolisAdjustedLangevinAlgorithm`).
    An image costs one gradient a step. A step that is too large is always refused: look at `acceptance`, of which 0.57
    is best in the limit of many dimensions (Roberts & Rosenthal, 1998).

    The chain continues from its memory. Changing the images between steps, as `projected` does, has no effect on it.

    Args:
      step_size: alpha, the variance of a step's noise, for [0, 1] pixels; in `langevin` it is the gradient's factor.
      temperature: T of exp(-E / T); below 1 the chain keeps to lower energies.
      bounds: pixel range; the density is 0 outside. Its ends are mirrors: an image beyond them has the energy of its
        mirror image, which is returned. This is exact. Merely refusing proposals outside would not work: for images
        with pixels at 0 and 1 it would refuse nearly all of them. None leaves the range open.

    Raises:
      ValueError: a step size or temperature that is not above 0.
    """
    _check(step_size, temperature)

    def kernel(energy_fn: EnergyFn) -> Any:
        import tensorflow_probability as tfp

        return tfp.mcmc.MetropolisAdjustedLangevinAlgorithm(
            _log_density(energy_fn, temperature, bounds), step_size=step_size
        )

    return _walk(kernel, bounds)


def hmc(step_size: float, num_leapfrog_steps: int, temperature: float = 1.0, bounds: Bounds | None = None) -> Walk:
    """Hamiltonian Monte Carlo on exp(-E / temperature): a step is a path of leapfrog steps, taken or refused whole.

    Duane et al., 1987; Neal, 2011; `tfp.mcmc.HamiltonianMonteCarlo`, with unit masses. An image costs
    `num_leapfrog_steps` gradients a step. Acceptance of 0.65 is best in the limit of many dimensions (Neal, 2011,
    sec. 5.4.4).

    Args:
      step_size: of a leapfrog step, in [0, 1] pixels for a momentum of 1.
      num_leapfrog_steps: leapfrog steps of one step.
      temperature: as in `mala`.
      bounds: as in `mala`.

    Raises:
      ValueError: a step size or temperature that is not above 0, or no leapfrog step.
    """
    _check(step_size, temperature)
    if num_leapfrog_steps < 1:
        raise ValueError(f"expected at least 1 leapfrog step, received {num_leapfrog_steps}")

    def kernel(energy_fn: EnergyFn) -> Any:
        import tensorflow_probability as tfp

        return tfp.mcmc.HamiltonianMonteCarlo(
            _log_density(energy_fn, temperature, bounds), step_size=step_size, num_leapfrog_steps=num_leapfrog_steps
        )

    return _walk(kernel, bounds)


def acceptance(memory: Acceptance) -> tf.Tensor:
    """Share float32[B] of its proposals that each image has taken since the chain began; 0 before the first step."""
    return tf.math.divide_no_nan(memory.accepted, memory.proposed)


def _walk(kernel: Callable[[EnergyFn], Any], bounds: Bounds | None) -> Walk:
    def begin(energy_fn: EnergyFn, x: Images) -> Memory:
        x = tf.convert_to_tensor(x)
        results = kernel(energy_fn).bootstrap_results(x)
        return Acceptance(x, results, tf.zeros(tf.shape(x)[0]), tf.constant(0.0))

    def step(energy_fn: EnergyFn, x: Images, memory: Memory, seed: Seed) -> tuple[Images, Memory]:
        position, results = kernel(energy_fn).one_step(memory.position, memory.results, seed=seed)
        taken = tf.cast(results.is_accepted, tf.float32)
        memory = Acceptance(position, results, memory.accepted + taken, memory.proposed + 1.0)
        return _mirrored(position, bounds), memory

    return Walk(begin, step)


def _log_density(energy_fn: EnergyFn, temperature: float, bounds: Bounds | None) -> Callable[[Images], tf.Tensor]:
    return lambda x: -one_for_each(energy_fn(_mirrored(x, bounds))) / temperature


def _mirrored(x: Images, bounds: Bounds | None) -> Images:
    """x inside the bounds; outside, folded back at them as often as it takes."""
    if bounds is None:
        return x
    low, high = bounds
    return low + (high - low) * (1 - tf.abs(1 - tf.math.floormod((x - low) / (high - low), 2.0)))


def _check(step_size: float, temperature: float) -> None:
    if not (step_size > 0 and temperature > 0):
        raise ValueError(f"expected a step size and a temperature above 0, received {step_size} and {temperature}")
