"""Cross-entropy on the images as they are."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import value
from jeat_tf.methods.base import Method

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class Standard(Method):
    """Ordinary training: CE(x) (JEAT eq. 13)."""

    word: ClassVar[str] = "standard"

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import adversarial

        return adversarial()
