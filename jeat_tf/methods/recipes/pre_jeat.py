"""Adversarial training on examples of high energy."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD, FGSMBesideNoise
from jeat_tf.core.balls import Ball, Linf
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Attacked
from jeat_tf.samplers.stages import RECIPES, Recipe

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class PreJEAT(Attacked):
    """Adversarial training on high energies: CE(x_adv), x_adv of high E(x, y) (JEAT eq. 18 and sec. 3.3)."""

    word: ClassVar[str] = "pre_jeat"

    attack: PGD = setting(PGD(steps=1), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")

    @classmethod
    def literal(cls, ball: Ball | None = None) -> "PreJEAT":
        """Algorithm 2 to the letter: the attack's gradient is taken at x, and pixels are not clipped."""
        return cls(attack=FGSMBesideNoise(Linf() if ball is None else ball))  # type: ignore[arg-type]

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import adversarial

        return adversarial(self.raising("joint_energy"))

    def drawing(self) -> Recipe:
        """JEAT eq. 17, whose energy this method trains."""
        return RECIPES["eq17"]
