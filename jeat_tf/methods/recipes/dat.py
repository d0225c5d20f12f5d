"""Dual adversarial training."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.core.balls import L2
from jeat_tf.core.values import by_word, setting, value
from jeat_tf.methods.base import Attacked
from jeat_tf.samplers.stages import RECIPES, Recipe, Stage
from jeat_tf.samplers.starts import STARTS, Start, Uniform
from jeat_tf.samplers.values import NormalizedDescent

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class DAT(Attacked):
    """Dual adversarial training: adversarial classification, and detection of negatives that always begin afresh.

    After the authors' code (xuwangyin/DAT): CE(x_adv) + w BCE with -E(x) as the logit of a binary classifier of images
    against negatives, which lower E(x, y) of a drawn class by steps of fixed l2 length. The number of steps grows to
    `chain.steps` as negatives become easy to tell. Their negatives start at withdrawn web images and their net at an
    adversarially trained one; here they start at noise or class Gaussians, and the net wherever it is.
    """

    word: ClassVar[str] = "dat"

    attack: PGD = setting(
        PGD(L2(0.5), steps=10, step_size=0.1), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_"
    )
    chain: NormalizedDescent = setting(
        NormalizedDescent(), "how negatives descend", kinds=by_word(NormalizedDescent), prefix="chain_"
    )
    start: Start = setting(Uniform(), "where negatives begin", kinds=STARTS, flag="chain_start", prefix="start_")
    class_conditional: bool = setting(True, "negatives lower E(x, y) of a drawn class, rather than E(x)")
    energy_weight: float = setting(1.0, "w, the weight of the binary objective", at_least=0.0)
    energy_l2: float = setting(0.0, "weight of the mean squared energies, against divergence", at_least=0.0)
    input_noise_std: float = setting(0.0, "standard deviation of Gaussian noise on all images, in pixels", at_least=0.0)

    def drawing(self) -> Recipe:
        """Its authors' 33 steps up f(x)[y], twice as long as those of training, from where its negatives begin.

        For their 0.1 these are 0.2. Larger images lie further from their start, and need longer steps in both.
        """
        steps = dataclasses.replace(self.chain, steps=33, step_size=2 * self.chain.step_size)
        return RECIPES["dat"]._replace(start=self.start, stages=(Stage(steps),))

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.attacks.surrogates import joint_energy, marginal_energy
        from jeat_tf.methods.inner import Curriculum, Fresh
        from jeat_tf.methods.objective import discriminated

        negatives = Fresh(
            self.start.layer(image_shape, num_classes),
            self.chain,
            num_classes,
            Curriculum(self.chain.steps),
            surrogate=joint_energy if self.class_conditional else marginal_energy,
        )
        return discriminated(
            negatives,
            perturb=self.raising("cross_entropy"),
            energy_weight=self.energy_weight,
            energy_l2=self.energy_l2,
            input_noise_std=self.input_noise_std,
        )
