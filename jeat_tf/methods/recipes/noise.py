"""Cross-entropy on noisy images."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Method

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class Noise(Method):
    """Noise injection: CE(x + N(0, std^2)) (JEAT sec. 3.2, fig. 5, with its N(0, 24/255) read as a deviation)."""

    word: ClassVar[str] = "noise"

    std: float = setting(
        24 / 255, "standard deviation of the noise, in pixels", at_least=0.0, flag="noise_std", pixels=True
    )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.inner import gaussian_noise
        from jeat_tf.methods.objective import adversarial

        return adversarial(gaussian_noise(self.std), attacks=False)
