"""Generation as values: a start and the stages after it, as text, and as recipes named after papers."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.flat import flatten, owners, read, replace
from jeat_tf.core.values import Value, nearest, setting, value
from jeat_tf.samplers.starts import ClassComponents, ClassGaussians, Exact, Mixture, Start, Uniform
from jeat_tf.samplers.values import SAMPLERS, SGLD, Contrast, Momentum, NormalizedDescent, Sampler, Steps, Targeted

if TYPE_CHECKING:
    from jeat_tf.core.types import Surrogate

ENERGIES = ("joint", "cross_entropy", "marginal")


@value
class Stage(Value):
    """One leg of generation: a sampler, and the energy that it lowers.

    `Stage(SGLD(steps=200))` is JEAT eq. 17; with energy="cross_entropy", E(x, y) - E(x), it is eq. 16.
    """

    sampler: Sampler = setting(SGLD(steps=50), "what lowers the energy", kinds=SAMPLERS)
    energy: str = setting("joint", "energy that is lowered: E(x, y), E(x, y) - E(x), or E(x)", choices=ENERGIES)

    @property
    def steps(self) -> int:
        """Gradient steps."""
        return getattr(self.sampler, "steps", 0)

    @property
    def of_classes(self) -> bool:
        """Whether the stage moves towards a class."""
        return self.energy != "marginal" and not isinstance(self.sampler, Contrast)

    def steps_at(self, done: int) -> Steps | None:
        """Step and noise of the step after `done` steps; None for a sampler without noise."""
        steps = self.sampler.steps_at(done)
        return steps if steps is not None and steps.noise_std > 0 else None

    def surrogate(self) -> "Surrogate":
        """(logits_fn, labels) -> the energy."""
        from jeat_tf.attacks import surrogates

        return {
            "joint": surrogates.joint_energy,
            "cross_entropy": surrogates.cross_entropy,
            "marginal": surrogates.marginal_energy,
        }[self.energy]

    def words(self) -> str:
        """As `parse_stages` reads it."""
        settings = {"energy": self.energy} | flatten(self.sampler)
        said = (f"{name}={_text(here)}" for name, here in settings.items() if here is not None and here != "")
        return f"{self.sampler.word}:{','.join(said)}"


def _text(setting: Any) -> str:
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


class Recipe(NamedTuple):
    """A way to draw images.

    Attributes:
      start: where they begin.
      stages: what is done to them, in order.
      source: paper or rule that it is from.
    """

    start: Start
    stages: tuple[Stage, ...]
    source: str


_PROXIMAL = SGLD.symmetric(50, noise_std=0.0, clip_gradient=1.0)
_FREE = SGLD.symmetric(50, noise_std=0.0, clip_gradient=1.0, clip_pixels=False)  # contrast leaves it room in its place
RECIPES = {
    "chain": Recipe(ClassGaussians(), (Stage(SGLD(50)),), "JEAT eq. 17 from class Gaussians; JEM's step and noise"),
    "eq17": Recipe(Uniform(), (Stage(SGLD(200)),), "JEAT eq. 17: down E(x, y) from uniform noise"),
    "eq16": Recipe(Uniform(), (Stage(SGLD(200), "cross_entropy"),), "JEAT eq. 16: down E(x, y) - E(x)"),
    "normalized": Recipe(
        Uniform(),
        (Stage(NormalizedDescent(200, 0.1)),),
        "one rule for all nets: down E(x, y) from uniform noise by steps of one l2 length",
    ),
    "unconditional": Recipe(Mixture(), (Stage(SGLD(100), "marginal"),), "JEM: down E(x), here from the mixture"),
    "dat": Recipe(
        Uniform(), (Stage(NormalizedDescent(33, 0.2)),), "DAT: 33 steps of l2 length 0.2 up f(x)[y], for CIFAR-10"
    ),
    "robust_jem": Recipe(
        ClassGaussians(),
        (
            Stage(Targeted(Linf(63.75 / 255), steps=15), "cross_entropy"),
            Stage(Contrast(0.9)),
            Stage(_FREE),
        ),
        "Robust JEM sec. 3, combined inference; the factor of contrast is ours",
    ),
    "robust_jem_energy": Recipe(ClassGaussians(), (Stage(_PROXIMAL),), "Robust JEM-Energy: the chain alone"),
    "robust_jem_unconditional": Recipe(
        Mixture(),
        (Stage(dataclasses.replace(_PROXIMAL, steps=300), "marginal"),),
        "Robust JEM, unconditional inference: 300 steps down E(x)",
    ),
    "robust_classifier": Recipe(
        ClassGaussians(),
        (Stage(Targeted(L2(30.0), steps=60, step_size=0.5), "cross_entropy"),),
        "Santurkar et al., 2019, CIFAR-10: targeted PGD in l2",
    ),
    "pca_momentum": Recipe(
        ClassComponents(),
        (Stage(Momentum()),),
        "Mirza et al., 2024 (WEAT): class components and momentum, for any robust classifier",
    ),
    "exact": Recipe(Exact(), (), "Glow: exact samples of a flow"),
}
"""Ways to draw by name."""


def named_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
      ValueError: there is none, with the nearest names.
    """
    if name not in RECIPES:
        raise ValueError(f'unknown recipe "{name}"; {nearest(name, RECIPES)}')
    return RECIPES[name]


def parse_stages(text: str) -> tuple[Stage, ...]:
    """The stages of `sampler:key=value,...;sampler...`; "none" is no stage.

    >>> parse_stages("targeted:epsilon=0.25,steps=15;contrast:factor=0.9;sgld:energy=joint,steps=50")

    Raises:
      ValueError: an unknown sampler or key, or a value that cannot be read, with the nearest names.
    """
    if text.strip() == "none":
        return ()
    return tuple(_stage(part.strip()) for part in text.split(";"))


def _stage(part: str) -> Stage:
    word, _, assignments = part.partition(":")
    if word not in SAMPLERS:
        raise ValueError(f'unknown stage "{word}"; {nearest(word, SAMPLERS)}')
    stage = Stage(SAMPLERS[word](), "cross_entropy" if word == "targeted" else "joint")  # type: ignore[arg-type]
    known = owners(type(stage.sampler))
    given: dict[str, Any] = {}
    for assignment in filter(None, (each.strip() for each in assignments.split(","))):
        key, equals, text = assignment.partition("=")
        if key not in known and key != "energy":
            raise ValueError(f'unknown setting "{key}" of stage {word}; {nearest(key, [*known, "energy"])}')
        if not equals:
            raise ValueError(f"expected {word}:{key}=value, received {assignment}")
        if key == "energy":
            stage = dataclasses.replace(stage, energy=text)
        else:
            given[key] = read(f"{word}:{key}", text, known[key][0].field)
    return dataclasses.replace(stage, sampler=replace(stage.sampler, **given))
