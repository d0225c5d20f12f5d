"""Cross-entropy on the images as they are."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Method

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class Standard(Method):
    """Ordinary training: CE(x) (JEAT eq. 13)."""

    word: ClassVar[str] = "standard"

    label_smoothing: float = setting(
        0.0, "s, the share of each label that is spread over all classes", at_least=0.0, below=1.0
    )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import adversarial

        return adversarial(smoothing=self.label_smoothing)
