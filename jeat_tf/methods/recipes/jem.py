"""The joint energy-based model."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import value
from jeat_tf.methods.base import Contrastive

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class JEM(Contrastive):
    """The joint energy-based model: -log p(y | x) - w log p(x) - v log p(x, y) (Grathwohl et al., 2020, eq. 7).

    JEM++ (Yang & Ji, 2021) is this with `SGLD(10, noise_std=0, clip_gradient=2)`, class Gaussians as starts and
    chain_view="training"; SADA-JEM (Yang et al., 2023) adds the update `SAM(2, adaptive=True)`.
    """

    word: ClassVar[str] = "jem"

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import joint

        return joint(self.negatives(image_shape, num_classes, seed), **self.weights())
