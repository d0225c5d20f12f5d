"""Adversarial training."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Attacked

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class PGDAT(Attacked):
    """Adversarial training: CE(x_adv), x_adv of high cross-entropy (Madry et al., 2018; JEAT eq. 1 and 3).

    One step is FGSM training (start at the image; Goodfellow et al., 2015) or Fast (a random start and a step of 1.25
    epsilon; Wong et al., 2020).
    """

    word: ClassVar[str] = "pgd_at"

    attack: PGD = setting(PGD(steps=10), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    label_smoothing: float = setting(
        0.0, "s, the share of each label that is spread over all classes", at_least=0.0, below=1.0
    )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import adversarial

        return adversarial(self.raising("cross_entropy"), smoothing=self.label_smoothing)
