"""Joint energy adversarial training."""

from typing import TYPE_CHECKING, ClassVar

from jeat_tf.attacks.values import ATTACKS, PGD, FGSMBesideNoise
from jeat_tf.core.balls import Ball, Linf
from jeat_tf.core.values import setting, value
from jeat_tf.methods.base import POSITIVES, Attacked, Contrastive
from jeat_tf.samplers.values import SGLD

if TYPE_CHECKING:
    from jeat_tf.methods.objective import Objective


@value
class JEAT(Attacked, Contrastive):
    """Joint energy adversarial training: -log p(x_adv, y), x_adv of high E(x, y) (JEAT Algorithm 1, eq. 18 to 20).

    The loss is CE(x_adv) + w (E(x_pos) - E(x_neg)). With w = 1 and x_adv as the positive phase the two energies of
    x_adv cancel: it is E(x_adv, y) - E(x_neg).
    """

    word: ClassVar[str] = "jeat"

    attack: PGD = setting(PGD(steps=1), "attack that makes x_adv", kinds=ATTACKS, prefix="attack_")
    positive: str = setting("adversarial", "images whose energy E(x) is lowered", choices=POSITIVES)

    @classmethod
    def literal(cls, ball: Ball | None = None, *, alpha: float = 0.01, steps: int = 20) -> "JEAT":
        """Algorithm 1 to the letter, whose alpha the paper leaves open.

        A Langevin chain with step alpha / 2 and noise sqrt(alpha) from uniform noise, the attack's gradient taken at x,
        pixels not clipped, no input noise. JEM's step is alpha = 0.5 for [0, 1] images. With alpha = 1 the noise is as
        wide as the pixel range, and runs diverge; 0.01 trains on digits.
        """
        return cls(
            attack=FGSMBesideNoise(Linf() if ball is None else ball),  # type: ignore[arg-type]
            chain=SGLD(steps, clip_pixels=False, alpha=alpha),
            input_noise_std=0.0,
        )

    def objective(self, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> "Objective":
        from jeat_tf.methods.objective import joint, positive

        return joint(
            self.negatives(image_shape, num_classes, seed),
            perturb=self.raising("joint_energy"),
            positive=positive(self.positive),
            **self.weights(),
        )
