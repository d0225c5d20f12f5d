"""Robust JEM."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import POSITIVES, Attacked, Contrastive
from jeat_tf.samplers.stages import RECIPES, Recipe
from jeat_tf.samplers.values import CHAINS, SGLD, Sampler

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class RobustJEM(Attacked, Contrastive):
    """Robust JEM: JEM whose classifier sees adversarial examples (Korst & Asadulaev, 2022, sec. 3).

    The loss is CE(x_adv) + w (E(x_pos) - E(x_neg)). The paper leaves open which energy is lowered. Here x_pos is the
    clean image, or with positive="adversarial" x_adv.
    """

    word: ClassVar[str] = "robust_jem"

    attack: PGD = setting(PGD(steps=15), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    chain: Sampler = setting(
        SGLD.symmetric(10, noise_std=0.0, clip_gradient=1.0),
        "chain that draws the negatives",
        kinds=CHAINS,
        prefix="chain_",
    )
    positive: str = setting("clean", "images whose energy E(x) is lowered", choices=POSITIVES)

    def drawing(self) -> Recipe:
        """Its combined inference: targeted PGD, less contrast, then the chain."""
        return RECIPES["robust_jem"]

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import joint, positive

        return joint(
            self.negatives(image_shape, num_classes, seed),
            perturb=self.raising("cross_entropy"),
            positive=positive(self.positive),
            **self.weights(),
        )
