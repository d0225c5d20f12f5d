"""WEAT: TRADES with weighted images."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import POSITIVES
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.samplers.stages import RECIPES, Recipe

if TYPE_CHECKING:
    import tensorflow as tf

    from jeat_tf.methods.objective import Objective


@value
class WEAT(TRADES):
    """WEAT: TRADES with each image weighted by 1 / log(1 + exp |E(x)|) (Mirza et al., 2024).

    Their WEAT_nat classifies x with beta 6, the default; WEAT_adv classifies x_adv with beta 7.
    """

    word: ClassVar[str] = "weat"

    classified: str = setting("clean", "images whose cross-entropy is minimised", choices=POSITIVES)

    def drawing(self) -> Recipe:
        """Class components and momentum."""
        return RECIPES["pca_momentum"]

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import consistent, positive

        return consistent(
            self.raising("kl_divergence"),
            beta=self.beta,
            classified=positive(self.classified),
            weigh=weight,
            smoothing=self.label_smoothing,
        )


def weight(energies: "tf.Tensor") -> "tf.Tensor":
    """float[B], the weight of images of energies E(x) float[B]."""
    import tensorflow as tf

    return 1.0 / tf.nn.softplus(tf.abs(energies))
