"""Generation in words: `sgld:energy=joint,num_steps=50;contrast:factor=0.9` -> stages; the papers' presets."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

from jeat_tf.attacks.pgd import pgd
from jeat_tf.attacks.surrogates import cross_entropy, opposite
from jeat_tf.config.build import surrogate
from jeat_tf.config.fields import check_epsilon, nearest, setting
from jeat_tf.core import units
from jeat_tf.core.norms import l2, linf
from jeat_tf.samplers.generation import Stage, contrast
from jeat_tf.samplers.metropolis import hmc, mala
from jeat_tf.samplers.sgld import Steps, coupled
from jeat_tf.samplers.walks import Chain, Walk, annealed, between, langevin, momentum

ENERGIES = ("joint", "cross_entropy", "marginal")
_PIXELS = (0.0, 1.0)


def _energy() -> Any:
    return setting("joint", "joint E(x, y), cross_entropy E(x, y) - E(x), or marginal E(x)", choices=ENERGIES)


@dataclasses.dataclass(frozen=True)
class Sgld:
    """A Langevin chain; with clip_gradient, the proximal chain of JEM++."""

    energy: str = _energy()
    num_steps: int = setting(50, "gradient steps")
    step_size: float = setting(0.25, "factor of the gradient")
    noise_std: float = setting(0.005, "standard deviation of each step's noise")
    coupled_alpha: float = setting(
        0.0, "above 0: step alpha / 2 and noise sqrt(alpha), in pixels, in place of the above"
    )
    clip_gradient: float = setting(0.0, "bound on each entry of the gradient; 0: none")
    clip_pixels: bool = setting(True, "keep images in [0, 1] after each step")
    units: str = setting(
        "pixel", "of step, noise and bound: pixel, or symmetric, [-1, 1], as published", choices=("pixel", "symmetric")
    )

    def steps(self) -> Steps:
        """Step and noise in pixels."""
        if self.coupled_alpha:
            return coupled(self.coupled_alpha)
        if self.units == "symmetric":
            return Steps(
                units.gradient_step_from_symmetric(self.step_size), units.length_from_symmetric(self.noise_std)
            )
        return Steps(self.step_size, self.noise_std)

    def steps_at(self, done: int) -> Steps:
        return self.steps()

    def sampler(self) -> Chain:
        clip = self.clip_gradient
        if self.units == "symmetric":
            clip = units.gradient_bound_from_symmetric(clip)
        bounds = _PIXELS if self.clip_pixels else None
        return Chain(langevin(**self.steps()._asdict(), clip_gradient=clip or None, bounds=bounds), self.num_steps)


@dataclasses.dataclass(frozen=True)
class Momentum:
    """A Langevin chain with momentum."""

    energy: str = _energy()
    num_steps: int = setting(20, "gradient steps")
    step_size: float = setting(0.001, "factor of the velocity, in pixels")
    noise_std: float = setting(0.001, "standard deviation of each step's noise, in pixels")
    decay: float = setting(0.9, "what is kept of the velocity at each step, in [0, 1)")
    clip_pixels: bool = setting(True, "keep images in [0, 1] after each step")

    def steps_at(self, done: int) -> Steps:
        """A step goes as far as one of step_size / (1 - decay) without momentum."""
        return Steps(self.step_size / (1 - self.decay), self.noise_std)

    def sampler(self) -> Chain:
        if not 0 <= self.decay < 1:
            raise ValueError(f"expected decay in [0, 1), received {self.decay:g}")
        bounds = _PIXELS if self.clip_pixels else None
        walk = momentum(step_size=self.step_size, noise_std=self.noise_std, decay=self.decay, bounds=bounds)
        return Chain(walk, self.num_steps)


@dataclasses.dataclass(frozen=True)
class Annealed:
    """A Langevin chain whose step and noise shrink, or grow, in equal ratios."""

    energy: str = _energy()
    num_steps: int = setting(50, "gradient steps")
    step_size: float = setting(0.5, "first factor of the gradient, in pixels")
    last_step_size: float = setting(0.05, "last factor of the gradient")
    noise_std: float = setting(0.02, "first standard deviation of a step's noise, in pixels")
    last_noise_std: float = setting(0.001, "last standard deviation")
    clip_pixels: bool = setting(True, "keep images in [0, 1] after each step")

    def _pairs(self) -> tuple[tuple[float, float], tuple[float, float]]:
        return (self.step_size, self.last_step_size), (self.noise_std, self.last_noise_std)

    def steps_at(self, done: int) -> Steps:
        share = min(done / max(self.num_steps - 1, 1), 1.0)
        return Steps(*(float(between(pair, share)) for pair in self._pairs()))

    def sampler(self) -> Chain:
        step_sizes, noise_stds = self._pairs()
        walk = annealed(
            step_sizes=step_sizes,
            noise_stds=noise_stds,
            num_steps=self.num_steps,
            bounds=_PIXELS if self.clip_pixels else None,
        )
        return Chain(walk, self.num_steps)


@dataclasses.dataclass(frozen=True)
class Mala:
    """The Metropolis-adjusted Langevin chain: it samples from exp(-E / temperature) on [0, 1] images."""

    energy: str = _energy()
    num_steps: int = setting(200, "proposals")
    step_size: float = setting(1e-3, "alpha: drift alpha / 2 and noise sqrt(alpha), in pixels")
    temperature: float = setting(0.01, "of the density")

    def steps_at(self, done: int) -> Steps:
        """Of a proposal."""
        drift, noise_std = coupled(self.step_size)
        return Steps(drift / self.temperature, noise_std)

    def sampler(self) -> Chain:
        return Chain(mala(step_size=self.step_size, temperature=self.temperature, bounds=_PIXELS), self.num_steps)


@dataclasses.dataclass(frozen=True)
class Hmc:
    """Hamiltonian Monte Carlo: it samples from exp(-E / temperature) on [0, 1] images."""

    energy: str = _energy()
    num_steps: int = setting(50, "proposals")
    step_size: float = setting(0.01, "of a leapfrog step, in pixels")
    num_leapfrog_steps: int = setting(5, "gradients of a proposal")
    temperature: float = setting(0.01, "of the density")

    def sampler(self) -> Chain:
        walk: Walk = hmc(
            step_size=self.step_size,
            num_leapfrog_steps=self.num_leapfrog_steps,
            temperature=self.temperature,
            bounds=_PIXELS,
        )
        return Chain(walk, self.num_steps)


@dataclasses.dataclass(frozen=True)
class Targeted:
    """PGD towards the class asked for: it lowers the cross-entropy inside a ball."""

    norm: str = setting("linf", "ball around the images that the stage is given", choices=("linf", "l2"))
    epsilon: float = setting(63.75 / 255, "its radius, in pixels")
    num_steps: int = setting(15, "gradient steps")
    step_size: float = setting(0.0, "of a step, in pixels; 0: 2.5 epsilon / num_steps")

    def sampler(self) -> functools.partial:
        check_epsilon(self.epsilon, self.norm)
        ball = (linf if self.norm == "linf" else l2)(self.epsilon)
        step_size = self.step_size or 2.5 * self.epsilon / max(self.num_steps, 1)
        # From the image itself: a random start would undo what the stages before have made of it.
        return functools.partial(pgd, ball=ball, step_size=step_size, num_steps=self.num_steps)


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Nearer to mid-grey, whatever the energy."""

    factor: float = setting(0.9, "of the distance to mid-grey")

    def sampler(self) -> Any:
        return contrast(self.factor)


_STAGES: dict[str, Any] = {
    "sgld": Sgld,
    "momentum": Momentum,
    "annealed": Annealed,
    "mala": Mala,
    "hmc": Hmc,
    "targeted": Targeted,
    "contrast": Contrast,
}


class Preset(NamedTuple):
    """A way to draw images.

    Attributes:
      start: name of where they begin.
      stages: what is done to them, in words.
      source: where it is from.
    """

    start: str
    stages: str
    source: str


_PROXIMAL = "units=symmetric,step_size=1.0,noise_std=0,clip_gradient=1"
PRESETS = {
    "chain": Preset("class_gaussian", "sgld", "JEAT eq. 17 from class Gaussians; JEM's step and noise"),
    "eq17": Preset("uniform", "sgld:num_steps=200", "JEAT eq. 17: down E(x, y) from uniform noise"),
    "eq16": Preset("uniform", "sgld:energy=cross_entropy,num_steps=200", "JEAT eq. 16: down E(x, y) - E(x)"),
    "unconditional": Preset("mixture", "sgld:energy=marginal,num_steps=100", "JEM: down E(x), here from the mixture"),
    "robust_jem": Preset(
        "class_gaussian",
        f"targeted:epsilon=63.75/255,num_steps=15;contrast:factor=0.9;sgld:num_steps=50,{_PROXIMAL}",
        "Robust JEM sec. 3, combined inference; the factor of contrast is ours",
    ),
    "robust_jem_energy": Preset(
        "class_gaussian", f"sgld:num_steps=50,{_PROXIMAL}", "Robust JEM-Energy: the chain alone"
    ),
    "robust_classifier": Preset(
        "class_gaussian",
        "targeted:norm=l2,epsilon=30,num_steps=60,step_size=0.5",
        "Santurkar et al., 2019, CIFAR-10: targeted PGD in l2",
    ),
    "pca_momentum": Preset(
        "class_pca", "momentum", "Mirza et al., 2024 (WEAT): class components and momentum, for any robust classifier"
    ),
}


def parse_stages(text: str) -> list[Any]:
    """The settings of each stage of `name:key=value,...;name...`; "none" is no stage.

    Raises:
      ValueError: an unknown stage or key, or a value that cannot be read, with the nearest names.
    """
    if text.strip() == "none":
        return []
    parsed = []
    for part in text.split(";"):
        name, _, assignments = part.strip().partition(":")
        if name not in _STAGES:
            raise ValueError(f'unknown stage "{name}"; {nearest(name, _STAGES)}')
        parsed.append(_STAGES[name](**_assigned(name, assignments)))
    return parsed


def named_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
      ValueError: there is none, with the nearest names.
    """
    if name not in PRESETS:
        raise ValueError(f'unknown preset "{name}"; {nearest(name, PRESETS)}')
    return PRESETS[name]


def stage_name(settings: Any) -> str:
    """The name under which `parse_stages` knows a stage's settings."""
    return next(name for name, kind in _STAGES.items() if isinstance(settings, kind))


def stage(settings: Any) -> Stage:
    """The stage that the settings describe."""
    for field in ("num_steps", "step_size", "noise_std", "factor", "coupled_alpha", "clip_gradient"):
        if getattr(settings, field, 0) < 0:
            raise ValueError(f"expected {stage_name(settings)}:{field} >= 0, received {getattr(settings, field):g}")
    if isinstance(settings, Targeted):
        return Stage(opposite(cross_entropy), settings.sampler())
    return Stage(surrogate(getattr(settings, "energy", "marginal")), settings.sampler())


def steps_at(settings: Any, done: int) -> Steps | None:
    """Step and noise, in pixels, of the step that a stage takes after `done` steps; None for a stage without noise."""
    steps = settings.steps_at(done) if hasattr(settings, "steps_at") else None
    return steps if steps is not None and steps.noise_std > 0 else None


def needs_classes(settings: Any) -> bool:
    """Whether a stage goes towards a class."""
    return isinstance(settings, Targeted) or getattr(settings, "energy", "marginal") != "marginal"


def _assigned(name: str, assignments: str) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(_STAGES[name])}
    values: dict[str, Any] = {}
    for assignment in filter(None, (part.strip() for part in assignments.split(","))):
        key, equals, value = assignment.partition("=")
        if key not in fields:
            raise ValueError(f'unknown setting "{key}" of stage {name}; {nearest(key, fields)}')
        if not equals:
            raise ValueError(f"expected {name}:{key}=value, received {assignment}")
        values[key] = _read(f"{name}:{key}", value, fields[key])
    return values


def _read(what: str, value: str, field: dataclasses.Field) -> Any:
    choices = field.metadata["choices"] or ("true", "false") * isinstance(field.default, bool)
    if choices and value not in choices:
        raise ValueError(f'expected {what} to be {" or ".join(choices)}, received "{value}"')
    if isinstance(field.default, bool):
        return value == "true"
    if isinstance(field.default, str):
        return value
    number = units.number(value)
    if not math.isfinite(number):
        raise ValueError(f"expected {what} to be a finite number, received {value}")
    if isinstance(field.default, int):
        if number != int(number):
            raise ValueError(f"expected {what} to be a whole number, received {value}")
        return int(number)
    return number
