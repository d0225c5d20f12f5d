"""Attacks that measure robustness, as values: `AutoAttack(Linf(8 / 255))(net, images, labels)`.

Each is called with any net and gives a `Robustness`. The command line knows the same attacks by the names in `NAMES`.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from jeat_tf.core.balls import BALLS, Ball, Linf, epsilon_text
from jeat_tf.core.values import Value, setting, value

if TYPE_CHECKING:
    import numpy as np

NAMES = {
    "clean": "the images as they are",
    "noise": "100 points drawn uniformly from the ball",
    "fgsm": "one step of epsilon from the image",
    "fgsm_rs": "one step of 1.25 epsilon from a random start",
    "pgdN": "N steps up the cross-entropy, e.g. pgd20; pgdNxR with R restarts",
    "energyN": "N steps up E(x, y), e.g. energy20",
    "cw_linfN": "N steps up the margin of logits",
    "cw_l2": "Carlini & Wagner's least l2 distance",
    "cw_l2_fixed": "the same with one constant, 0.2",
    "cw_linf_min": "the least l-inf distance",
    "fab_min": "FAB's least distance in the norm of the ball",
    "apgd-ce": "AutoAttack's APGD on the cross-entropy",
    "apgd-dlr": "AutoAttack's APGD on the ratio of logit differences",
    "apgd-t": "AutoAttack's targeted APGD",
    "fab": "AutoAttack's FAB",
    "fab-t": "AutoAttack's targeted FAB",
    "square": "AutoAttack's Square, without gradients",
    "autoattack": "APGD-CE, APGD-T, FAB-T and Square, in order",
    "autoattack-fast": "APGD-CE, APGD-T and FAB-T to the most promising targets; the rest where it may help",
    "autoattack-plus": "the published version plus, with five restarts",
    "autoattack-rand": "the published version rand, for nets with random output",
}
"""What `--attacks` takes, with a line each."""
_VERSIONS = ("standard", "fast", "plus", "rand")


class Robustness(NamedTuple):
    """How a net stands up to an attack, one entry for each of N images.

    Attributes:
      attack: name of the attack.
      ball: where x_adv may be.
      correct: bool[N], classified correctly as given.
      unbroken: bool[N], and still correctly after the attack.
      broken_by: str[N], name of the part of the attack that broke the image; "clean" where it was misclassified, ""
        where it is unbroken.
      x_adv: float32[N, H, W, C]; the image itself where it is unbroken or was misclassified.
      passes: forward passes through the net for all images, a gradient counted as two.
    """

    attack: str
    ball: Ball
    correct: "np.ndarray"
    unbroken: "np.ndarray"
    broken_by: "np.ndarray"
    x_adv: "np.ndarray"
    passes: int

    @property
    def clean_accuracy(self) -> float:
        """Share of images that are classified correctly as given."""
        return float(self.correct.mean())

    @property
    def robust_accuracy(self) -> float:
        """Share of images that are classified correctly after the attack."""
        return float(self.unbroken.mean())

    def __repr__(self) -> str:
        where = f"at {self.ball.norm} {epsilon_text(self.ball)}"
        return (
            f"clean {self.clean_accuracy:.1%}, robust {self.robust_accuracy:.1%} {where} "
            f"({self.attack}, {len(self.correct)} images)"
        )


@value
class Evaluation(Value):
    """An attack on any net: (net, images, labels) -> `Robustness`."""

    ball: Ball = setting(Linf(), "where x_adv may be", kinds=BALLS, flag="norm")

    @property
    def name(self) -> str:
        """What the command line calls it."""
        raise NotImplementedError

    def __call__(
        self,
        net: Any,
        images: Any,
        labels: Any,
        *,
        targets: str = "none",
        seed: int = 0,
        batch_size: int = 200,
    ) -> Robustness:
        """Attacks all images.

        Args:
          net: a Keras model, or any callable images -> logits; no softmax at its end.
          images: float32[N, H, W, C] in [0, 1].
          labels: int[N].
          targets: the class that has to be reached: "next", the one after the label, or "random"; "none": any other.
          seed: of random starts and searches.
          batch_size: images in memory at a time; results do not depend on it.

        Raises:
          ValueError: invalid images, labels or outputs.
        """
        from jeat_tf.attacks.named import named
        from jeat_tf.attacks.targeted import toward_one

        attack = named(self.name, self.ball)
        if targets != "none":
            attack = toward_one(attack, targets, seed)
        return attack.robustness(net, images, labels, seed=seed, batch_size=batch_size)


@value
class AutoAttack(Evaluation):
    """AutoAttack (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690): APGD-CE, APGD-T, FAB-T and Square in order."""

    version: str = setting(
        "standard",
        "as published, or fast: a part for all images, the rest where it may help",
        choices=_VERSIONS,
    )

    @property
    def name(self) -> str:
        return "autoattack" if self.version == "standard" else f"autoattack-{self.version}"


@value
class APGD(Evaluation):
    """AutoAttack's parameter-free PGD, on one loss."""

    loss: str = setting(
        "ce", "cross-entropy, difference-of-logits ratio, or the targeted ratio", choices=("ce", "dlr", "t")
    )

    @property
    def name(self) -> str:
        return f"apgd-{self.loss}"


@value
class FAB(Evaluation):
    """AutoAttack's Fast Adaptive Boundary attack (Croce & Hein, 2020)."""

    targeted: bool = setting(True, "one run for each of the nine most likely targets")

    @property
    def name(self) -> str:
        return "fab-t" if self.targeted else "fab"


@value
class Square(Evaluation):
    """AutoAttack's Square attack (Andriushchenko et al., 2020): queries without gradients."""

    @property
    def name(self) -> str:
        return "square"


@value
class CarliniWagner(Evaluation):
    """PGD up the margin of logits inside the ball (Carlini & Wagner, 2017, as JEAT's tables report it)."""

    steps: int = setting(50, "gradient steps", at_least=1)

    @property
    def name(self) -> str:
        return f"cw_linf{self.steps}"


@value
class EnergyPGD(Evaluation):
    """PGD up the joint energy E(x, y) (JEAT eq. 18)."""

    steps: int = setting(20, "gradient steps", at_least=1)

    @property
    def name(self) -> str:
        return f"energy{self.steps}"
