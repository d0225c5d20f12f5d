"""Maximum likelihood of a flow."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Method
from jeat_tf.samplers.stages import RECIPES, Recipe

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class Flow(Method):
    """Maximum likelihood of a flow: -log p(x | y) / (H W C) + c CE(x) (Kingma & Dhariwal, 2018).

    For a net whose logits are log p(x | y).
    """

    word: ClassVar[str] = "flow"
    accuracy_may_fall: ClassVar[bool] = True

    pixel_values: int = setting(256, "values that a pixel can have, for dequantisation; digits: 17", at_least=2)
    class_weight: float = setting(0.01, "c, the weight of the cross-entropy beside the likelihood", at_least=0.0)

    def drawing(self) -> Recipe:
        """Exact samples of p(x | y)."""
        return RECIPES["exact"]

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.inner import dequantized
        from jeat_tf.methods.likelihood import likelihood

        return likelihood(dequantized(self.pixel_values), class_weight=self.class_weight)
