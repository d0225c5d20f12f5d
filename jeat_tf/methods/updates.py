"""How the weights move, as values: plain descent where none is given."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.balls import BALLS, Ball, Linf
from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    from jeat_tf.methods.steps import Step


@value
class Update(Value):
    """What is wrapped around the descent of an objective."""

    def step(self, image_shape: tuple[int, int, int]) -> "Step":
        """The function that moves the weights, for images (H, W, C)."""
        raise NotImplementedError


@value
class AWP(Update):
    """Adversarial weight perturbation (Wu et al., 2020): the gradient is taken at perturbed weights."""

    word: ClassVar[str] = "awp"

    gamma: float = setting(0.01, "relative size of the perturbation (TRADES: 0.005)", at_least=0.0, flag="awp_gamma")
    from_step: int = setting(0, "optimizer steps before it begins", at_least=0, flag="awp_from_step")

    def step(self, image_shape: tuple[int, int, int]) -> "Step":
        from jeat_tf.methods.steps import awp

        return awp(self.gamma, from_step=self.from_step)


@value
class SAM(Update):
    """Sharpness-aware minimisation around any method (Foret et al., 2021; adaptive: Kwon et al., 2021)."""

    word: ClassVar[str] = "sam"

    rho: float = setting(0.05, "size of the perturbation (SADA-JEM: 2, adaptive)", at_least=0.0, flag="sam_rho")
    adaptive: bool = setting(False, "scale each weight's part of it by the weight", flag="sam_adaptive")

    def step(self, image_shape: tuple[int, int, int]) -> "Step":
        from jeat_tf.methods.steps import sam

        return sam(self.rho, adaptive=self.adaptive)


@value
class Free(Update):
    """Adversarial training for free (Shafahi et al., 2019): one gradient moves the weights and the perturbation.

    For the method `Standard()`. Training data must serve each batch `replays` times, as `python -m jeat_tf.train` does,
    and every batch has `batch_size` images.
    """

    word: ClassVar[str] = "free"

    ball: Ball = setting(Linf(), "where the perturbation may be", kinds=BALLS, flag="")
    replays: int = setting(8, "m, times that each batch is served", at_least=1, flag="free_replays")
    batch_size: int = setting(128, "images of every batch", at_least=1, flag="")

    def step(self, image_shape: tuple[int, int, int]) -> "Step":
        from jeat_tf.methods.steps import FreeStep

        return FreeStep(self.ball, batch_size=self.batch_size, image_shape=image_shape)


UPDATES = by_word(AWP, SAM, Free)
"""Updates by name."""
