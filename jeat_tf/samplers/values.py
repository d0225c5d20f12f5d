"""Chains as values: each lowers an energy, and is the same object in training, sampling, editing and reports."""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import BALLS, Ball, Linf
from jeat_tf.core.units import (
    gradient_bound_from_symmetric,
    gradient_step_from_symmetric,
    length_from_symmetric,
)
from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    import tensorflow as tf

    from jeat_tf.core.types import EnergyFn, Images, Seed
    from jeat_tf.samplers.walks import Walk

PIXELS = (0.0, 1.0)
_STEPS = "gradient steps of a chain"
_STEP_SIZE = "factor of the energy's gradient, in pixels"
_NOISE = "standard deviation of each step's noise, in pixels"
_CLIP = "keep images in [0, 1] after each step"
_PATIENCE = "stop an image after so many steps that did not lower its energy, where it was lowest; empty: never"


class Steps(NamedTuple):
    """The two numbers of a chain's step, in pixels: factor of the gradient, standard deviation of the noise."""

    step_size: float
    noise_std: float


@value
class Sampler(Value):
    """Lowers an energy: (energy_fn, x, seed) -> x. `energy_fn` gives each image its own number, float[B]."""

    def __call__(self, energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int") -> "Images":
        """The chain's last images, like x; no gradient flows through them."""
        raise NotImplementedError

    def steps_at(self, done: int) -> Steps | None:
        """Step and noise of the step that follows `done` steps; None for a sampler without noise."""
        del done
        return None


@value
class Chain(Sampler):
    """A sampler that is a number of steps of one walk."""

    steps: int = setting(20, _STEPS, at_least=0)

    def walk(self) -> "Walk":
        """One step of the chain, to be watched or held to a condition on the way."""
        raise NotImplementedError

    def __call__(self, energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int") -> "Images":
        from jeat_tf.core.seeds import as_seed
        from jeat_tf.samplers.walks import run

        return run(self.walk(), energy_fn, x, seed=as_seed(seed), num_steps=self.steps)

    def bounds(self) -> tuple[float, float] | None:
        """The pixel range that each step keeps to; None leaves it open."""
        return PIXELS if getattr(self, "clip_pixels", True) else None


@value
class SGLD(Chain):
    """x <- x - step_size * grad E(x) + noise_std * N(0, I): the chain of JEM and JEAT (eq. 17).

    JEM sets step and noise apart (1 and 0.01 on [-1, 1] images, which is the default here): such a chain does not
    sample from exp(-E), it is a noisy descent. `SGLD(alpha=...)` couples them as Langevin dynamics does, with step
    alpha / 2 and noise sqrt(alpha) (JEAT Algorithm 1; Welling & Teh, 2011). With `clip_gradient` it is the proximal
    chain of JEM++.
    """

    word: ClassVar[str] = "sgld"

    step_size: float = setting(0.25, _STEP_SIZE, at_least=0.0)
    noise_std: float = setting(0.005, _NOISE, at_least=0.0)
    clip_gradient: float | None = setting(None, "bound on each entry of the gradient (JEM++: 2)", above=0.0)
    clip_pixels: bool = setting(True, _CLIP)
    patience: int | None = setting(None, _PATIENCE, at_least=1)
    alpha: dataclasses.InitVar[float | None] = setting(
        None, "a true Langevin step: step_size alpha / 2 and noise_std sqrt(alpha)", above=0.0
    )

    def __post_init__(self, alpha: float | None = None) -> None:
        if alpha is not None:
            if not alpha > 0:
                raise ValueError(f"{type(self).__name__}(alpha={alpha!r}): expected alpha above 0, received {alpha!r}")
            object.__setattr__(self, "step_size", alpha / 2)
            object.__setattr__(self, "noise_std", math.sqrt(alpha))
        self._check()

    @classmethod
    def symmetric(
        cls,
        steps: int = 20,
        *,
        step_size: float = 1.0,
        noise_std: float = 0.01,
        clip_gradient: float | None = None,
        **more: Any,
    ) -> "SGLD":
        """The chain of numbers published for [-1, 1] images, converted to pixels once."""
        return cls(
            steps,
            step_size=gradient_step_from_symmetric(step_size),
            noise_std=length_from_symmetric(noise_std),
            clip_gradient=None if clip_gradient is None else gradient_bound_from_symmetric(clip_gradient),
            **more,
        )

    def walk(self) -> "Walk":
        from jeat_tf.samplers.walks import langevin

        walk = langevin(
            step_size=self.step_size,
            noise_std=self.noise_std,
            clip_gradient=self.clip_gradient,
            bounds=self.bounds(),
        )
        return _patient(walk, self.patience)

    def steps_at(self, done: int) -> Steps:
        return Steps(self.step_size, self.noise_std)


@value
class SplitSGLD(SGLD):
    """The split-network chain of JEM++ (Yang & Ji, 2021, Algorithm 1; after YOPO, Zhang et al., 2019).

    Each of `steps` outer steps runs the whole net once, and its first layers alone `inner_steps` times. With a linear
    first layer it equals one proximal step; it differs where the cut is after something that is not linear.
    """

    word: ClassVar[str] = "split_sgld"

    inner_steps: int = setting(5, "steps through the first layers for each one through the net", at_least=1)
    layer: str = setting("", "last of these layers, by its Keras name; empty: the first convolution")

    def _check(self) -> None:
        super()._check()
        if self.patience is not None:
            raise ValueError(
                f"SplitSGLD(patience={self.patience}): a chain through a net in two parts does not look at its energy "
                "and cannot stop by it; leave patience out"
            )

    def through(
        self, stem_fn: Callable[..., Any], head_energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int"
    ) -> "Images":
        """The chain's last images, for a net in two parts: images -> hidden -> energy float[B]."""
        from jeat_tf.core.seeds import as_seed
        from jeat_tf.samplers.sgld import split_sgld

        return split_sgld(
            stem_fn,
            head_energy_fn,
            x,
            seed=as_seed(seed),
            step_size=self.step_size,
            noise_std=self.noise_std,
            num_steps=self.steps,
            inner_steps=self.inner_steps,
            clip_gradient=self.clip_gradient,
            bounds=self.bounds(),
        )


@value
class NormalizedDescent(Chain):
    """x <- x - step_size * grad E(x) / |grad E(x)|, inside [0, 1]: every step has the same l2 length.

    DAT climbs f(x)[y] so (xuwangyin/DAT: T steps of 0.1), and it suits any net, whatever the scale of its energy.
    """

    word: ClassVar[str] = "normalized"

    steps: int = setting(40, _STEPS, at_least=0)
    step_size: float = setting(0.1, "l2 length of a step, in pixels", at_least=0.0)
    patience: int | None = setting(None, _PATIENCE, at_least=1)

    def walk(self) -> "Walk":
        from jeat_tf.samplers.walks import normalized

        return _patient(normalized(step_size=self.step_size, bounds=PIXELS), self.patience)

    def __call__(
        self, energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int", steps: "int | tf.Tensor | None" = None
    ) -> "Images":
        """The last images; `steps` overrides the number of steps, which may be a tensor."""
        from jeat_tf.core.seeds import as_seed
        from jeat_tf.samplers.walks import run

        num_steps = self.steps if steps is None else steps
        return run(self.walk(), energy_fn, x, seed=as_seed(seed), num_steps=num_steps)


@value
class Momentum(Chain):
    """v <- decay * v + grad E(x), x <- x - step_size * v + noise: draws from any robust classifier (WEAT, 2024)."""

    word: ClassVar[str] = "momentum"

    step_size: float = setting(0.001, "factor of the velocity, in pixels", at_least=0.0)
    noise_std: float = setting(0.001, _NOISE, at_least=0.0)
    decay: float = setting(0.9, "what is kept of the velocity at each step", at_least=0.0, below=1.0)
    clip_pixels: bool = setting(True, _CLIP)
    patience: int | None = setting(None, _PATIENCE, at_least=1)

    def walk(self) -> "Walk":
        from jeat_tf.samplers.walks import momentum

        walk = momentum(step_size=self.step_size, noise_std=self.noise_std, decay=self.decay, bounds=self.bounds())
        return _patient(walk, self.patience)

    def steps_at(self, done: int) -> Steps:
        """A step goes as far as one of step_size / (1 - decay) without momentum."""
        return Steps(self.step_size / (1 - self.decay), self.noise_std)


@value
class Annealed(Chain):
    """A Langevin chain whose step and noise shrink, or grow, in equal ratios."""

    word: ClassVar[str] = "annealed"

    steps: int = setting(50, _STEPS, at_least=0)
    step_size: float = setting(0.5, "first factor of the gradient, in pixels", above=0.0)
    last_step_size: float = setting(0.05, "last factor of the gradient, in pixels", above=0.0)
    noise_std: float = setting(0.02, "first standard deviation of a step's noise, in pixels", at_least=0.0)
    last_noise_std: float = setting(0.001, "last standard deviation of a step's noise, in pixels", at_least=0.0)
    clip_pixels: bool = setting(True, _CLIP)
    patience: int | None = setting(None, _PATIENCE, at_least=1)

    def _check(self) -> None:
        super()._check()
        if (self.noise_std > 0) != (self.last_noise_std > 0):
            raise ValueError(
                "expected noise_std and last_noise_std both above 0 or both 0, to go from one to the other in equal "
                f"ratios, received {self.noise_std} and {self.last_noise_std}"
            )

    def _pairs(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.step_size, self.last_step_size), (self.noise_std, self.last_noise_std)

    def walk(self) -> "Walk":
        from jeat_tf.samplers.walks import annealed

        step_sizes, noise_stds = self._pairs()
        walk = annealed(step_sizes=step_sizes, noise_stds=noise_stds, num_steps=self.steps, bounds=self.bounds())
        return _patient(walk, self.patience)

    def steps_at(self, done: int) -> Steps:
        from jeat_tf.samplers.walks import between

        share = min(done / max(self.steps - 1, 1), 1.0)
        return Steps(*(float(between(pair, share)) for pair in self._pairs()))


@value
class MALA(Chain):
    """The Metropolis-adjusted Langevin chain: it samples from exp(-E / temperature) on [0, 1] images."""

    word: ClassVar[str] = "mala"

    steps: int = setting(200, "proposals", at_least=0)
    step_size: float = setting(1e-3, "alpha: drift alpha / 2 and noise sqrt(alpha), in pixels", above=0.0)
    temperature: float = setting(0.01, "temperature of the density", above=0.0)

    def walk(self) -> "Walk":
        from jeat_tf.samplers.metropolis import mala

        return mala(step_size=self.step_size, temperature=self.temperature, bounds=PIXELS)

    def steps_at(self, done: int) -> Steps:
        """The drift and the noise of a proposal."""
        return Steps(self.step_size / 2 / self.temperature, math.sqrt(self.step_size))


@value
class HMC(Chain):
    """Hamiltonian Monte Carlo: it samples from exp(-E / temperature) on [0, 1] images."""

    word: ClassVar[str] = "hmc"

    steps: int = setting(50, "proposals", at_least=0)
    step_size: float = setting(0.01, "step of the leapfrog integrator, in pixels", above=0.0)
    leapfrog_steps: int = setting(5, "gradients of a proposal", at_least=1)
    temperature: float = setting(0.01, "temperature of the density", above=0.0)

    def walk(self) -> "Walk":
        from jeat_tf.samplers.metropolis import hmc

        return hmc(
            step_size=self.step_size,
            num_leapfrog_steps=self.leapfrog_steps,
            temperature=self.temperature,
            bounds=PIXELS,
        )


@value
class Targeted(Sampler):
    """PGD down the energy inside a ball around the images that it is given (Santurkar et al., 2019).

    It begins at the images themselves: a random start would undo what came before.
    """

    word: ClassVar[str] = "targeted"

    ball: Ball = setting(Linf(63.75 / 255), "ball around the given images", kinds=BALLS, flag="norm")
    steps: int = setting(15, "gradient steps", at_least=0)
    step_size: float | None = setting(
        None, "length of a step in pixels; empty: 2.5 epsilon / steps", at_least=0.0, pixels=True
    )

    def __call__(self, energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int") -> "Images":
        step_size = 2.5 * self.ball.epsilon / max(self.steps, 1) if self.step_size is None else self.step_size
        attack = PGD(self.ball, self.steps, step_size, "image")
        return attack(lambda x: -energy_fn(x), x, seed=seed)


@value
class Contrast(Sampler):
    """1/2 + factor (x - 1/2): nearer to mid-grey, whatever the energy.

    Robust JEM reduces contrast between its targeted attack and its chain, so that the chain has room in pixel space.
    """

    word: ClassVar[str] = "contrast"

    factor: float = setting(0.9, "share of the distance to mid-grey that is kept", at_least=0.0)

    def __call__(self, energy_fn: "EnergyFn", x: "Images", *, seed: "Seed | int") -> "Images":
        return 0.5 + self.factor * (x - 0.5)


def _patient(walk: "Walk", patience: int | None) -> "Walk":
    from jeat_tf.samplers.walks import stopping

    return walk if patience is None else stopping(walk, patience)


SAMPLERS = by_word(SGLD, SplitSGLD, NormalizedDescent, Momentum, Annealed, MALA, HMC, Targeted, Contrast)
"""Samplers by the words of `--stages`."""
CHAINS = by_word(SGLD, SplitSGLD, Momentum, Annealed)
"""Samplers that training may use, by the words of `--chain`."""
