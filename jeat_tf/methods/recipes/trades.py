"""TRADES."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import Attacked

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class TRADES(Attacked):
    """TRADES: CE(x) + beta KL(p(y | x) || p(y | x_adv)), x_adv of high divergence (Zhang et al., 2019, eq. 5).

    The divergence has no gradient at the image itself: its attack starts beside it.
    """

    word: ClassVar[str] = "trades"

    attack: PGD = setting(PGD(steps=10, start="gaussian"), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    beta: float = setting(6.0, "weight of the divergence between p(y | x) and p(y | x_adv)", at_least=0.0)
    label_smoothing: float = setting(
        0.0, "s, the share of each label that is spread over all classes", at_least=0.0, below=1.0
    )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import consistent

        return consistent(self.raising("kl_divergence"), beta=self.beta, smoothing=self.label_smoothing)
