"""The class-conditional energy-based model."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Contrastive
from jeat_tf.samplers.values import CHAINS, SGLD, Sampler

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class IGEBM(Contrastive):
    """The class-conditional energy-based model: -log p(x | y) by contrast (Du & Mordatch, 2019, Algorithm 1).

    f(x)[y] = -E(x, y), so that its argmax classifies although no cross-entropy is trained. Chains lower E(x, y), and it
    is E(x, y) whose square is penalised, as the authors' code has it. A continued chain takes a new class in each step,
    as theirs takes that of the batch. The net needs spectral normalisation.
    """

    word: ClassVar[str] = "igebm"
    accuracy_may_fall: ClassVar[bool] = True

    chain: Sampler = setting(
        SGLD(60, step_size=10.0, noise_std=0.005, clip_gradient=0.01),
        "chain that draws the negatives",
        kinds=CHAINS,
        prefix="chain_",
    )
    class_conditional: bool = setting(True, "chains of classes, without which there is no p(x | y)", flag="")
    energy_weight: float = setting(0.0, "weight of -log p(x)", at_least=0.0, flag="")
    joint_weight: float = setting(1.0, "weight of -log p(x | y)", at_least=0.0, flag="")
    energy_l2: float = setting(1.0, "weight of the mean squared energies, against divergence", at_least=0.0)
    input_noise_std: float = setting(0.0, "standard deviation of Gaussian noise on all images, in pixels", at_least=0.0)

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import joint

        negatives = dataclasses.replace(self.negatives(image_shape, num_classes, seed), relabel=True)
        return joint(negatives, class_weight=0.0, **self.weights())
