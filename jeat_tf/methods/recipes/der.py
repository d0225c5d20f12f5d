"""Adversarial training with a regularised change of energy."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Attacked

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class DER(Attacked):
    """Adversarial training that keeps the energy level: CE(x_adv) + beta (E(x) - E(x_adv))^2.

    After the Delta Energy Regularizer of Mirza et al., 2025, https://arxiv.org/abs/2505.22486, who find that this
    change of energy diverges when adversarial training overfits. The square and its weight are our reading. beta 0 is
    `PGDAT` with one more pass, of the clean images.
    """

    word: ClassVar[str] = "der"

    attack: PGD = setting(PGD(steps=1), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    beta: float = setting(1.0, "weight of the mean squared change of energy E(x) - E(x_adv)", at_least=0.0)

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import level

        return level(self.raising("cross_entropy"), beta=self.beta)
