"""Attacks for training as values: they raise a loss near x, and print as one would type them."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

from jeat_tf.core.balls import BALLS, L1, L2, Ball, Linf
from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    from jeat_tf.attacks.evaluation import Robustness
    from jeat_tf.core.types import Images, LossFn, Seed

_STARTS = ("random", "gaussian", "image")


@value
class PGD(Value):
    """Projected gradient ascent (Madry et al., 2018; JEAT eq. 3).

    >>> x_adv = PGD(Linf(8 / 255), steps=10)(loss_fn, x, seed=0)

    `loss_fn` gives each image its own loss, float[B], e.g. `attacks.cross_entropy(net, labels)`. The result lies in the
    ball and in [0, 1].
    """

    word: ClassVar[str] = "pgd"

    ball: Ball = setting(Linf(), "where x_adv may be", kinds=BALLS, flag="attack_norm")
    steps: int = setting(10, "gradient steps of the attack", at_least=0)
    step_size: float | None = setting(
        None,
        "length of a step in pixels; empty: 2.5 epsilon / steps, at most epsilon",
        at_least=0.0,
        pixels=True,
    )
    start: str = setting(
        "random",
        "first iterate: a random point of the ball, a Gaussian of 0.001 beside the image (TRADES), or the image itself",
        choices=_STARTS,
    )

    def _check(self) -> None:
        super()._check()
        infinite = not math.isfinite(getattr(self.ball, "epsilon", 0.0))
        if infinite and (self.step_size is None or self.start == "random"):
            raise ValueError(
                f"{type(self).__name__}({self.ball!r}): expected a finite radius, received {self.ball.epsilon:g}; or "
                "give step_size, and start='image'"
            )

    @property
    def length(self) -> float:
        """The length of one step, in pixels."""
        if self.step_size is not None:
            return self.step_size
        return self.ball.epsilon * min(2.5 / max(self.steps, 1), 1.0)

    def __call__(self, loss_fn: "LossFn", x: "Images", *, seed: "Seed | int") -> "Images":
        """x_adv, like x; no gradient flows through it.

        Raises:
          ValueError: `loss_fn` does not give one number for each image.
        """
        from jeat_tf.attacks.pgd import pgd
        from jeat_tf.core.norms import gaussian_start
        from jeat_tf.core.seeds import as_seed

        starts = {"random": self.ball.random_start, "gaussian": gaussian_start, "image": None}
        return pgd(
            loss_fn,
            x,
            seed=as_seed(seed),
            ball=self.ball,
            step_size=self.length,
            num_steps=self.steps,
            start=starts[self.start],
        )

    def against(
        self, net: Any, images: Any, labels: Any, *, restarts: int = 1, seed: int = 0, batch_size: int = 200
    ) -> "Robustness":
        """How a net stands up to this attack on the cross-entropy, which stops at an image's first success.

        Args:
          net: a Keras model, or any callable images -> logits; no softmax at its end.
          images: float32[N, H, W, C] in [0, 1].
          labels: int[N].
          restarts: random starts, each on the images that are still unbroken.
          seed: of the starts.
          batch_size: images in memory at a time; results do not depend on it.

        Raises:
          ValueError: invalid images, labels or outputs.
        """
        from jeat_tf.attacks.named import ascent

        attack = ascent(f"pgd{self.steps}" + f"x{restarts}" * (restarts > 1), self, restarts)
        return attack.robustness(net, images, labels, seed=seed, batch_size=batch_size)


@value
class FGSM(PGD):
    """One step of length epsilon from the image (Goodfellow et al., 2015; JEAT eq. 2)."""

    word: ClassVar[str] = "fgsm"

    steps: int = setting(1, "gradient steps of the attack", at_least=0)
    start: str = setting("image", "first iterate", choices=_STARTS)


@value
class FGSMBesideNoise(Value):
    """project(noise + epsilon * ascent(grad loss(x))), pixels not clipped: the attack of JEAT's Algorithm 1, literally.

    Its gradient is taken at x itself. `PGD(ball, steps=1)`, whose gradient is taken at x plus the noise, is the form to
    prefer.
    """

    word: ClassVar[str] = "fgsm_beside_noise"

    ball: Ball = setting(Linf(), "where x_adv may be", kinds=BALLS, flag="attack_norm")

    def __call__(self, loss_fn: "LossFn", x: "Images", *, seed: "Seed | int") -> "Images":
        """x_adv, like x; no gradient flows through it."""
        from jeat_tf.attacks.pgd import fgsm_beside_noise
        from jeat_tf.core.seeds import as_seed

        return fgsm_beside_noise(loss_fn, x, seed=as_seed(seed), ball=self.ball)


@value
class MSD(Value):
    """Multi steepest descent: PGD in the union of up to three balls (Maini et al., 2020, Algorithm 1).

    >>> x_adv = MSD(linf=8 / 255, l2=0.5, l1=12.0)(loss_fn, x, seed=0)

    Each iteration steps in every ball from the same point and keeps, for each image, the step of the highest loss. The
    result lies in one of the balls and in [0, 1].

    Raises:
      ValueError: no radius above 0.
    """

    word: ClassVar[str] = "msd"

    linf: float = setting(8 / 255, "radius in l-inf; 0: not this norm", at_least=0.0, pixels=True)
    l2: float = setting(0.5, "radius in l2; 0: not this norm", at_least=0.0)
    l1: float = setting(12.0, "radius in l1; 0: not this norm", at_least=0.0)
    steps: int = setting(10, "gradient steps of the attack", at_least=0)
    step_share: float | None = setting(
        None, "length of a step as a share of each radius; empty: 2.5 / steps, at most 1", at_least=0.0
    )
    start: str = setting(
        "random", "first iterate: a random point of one of the balls, or the image itself", choices=("random", "image")
    )

    def _check(self) -> None:
        super()._check()
        if not self.balls:
            raise ValueError("MSD(linf=0, l2=0, l1=0): expected a radius above 0, received none; set one")

    @property
    def balls(self) -> tuple[Ball, ...]:
        """Where x_adv may be: in any of these."""
        return tuple(ball for ball in (Linf(self.linf), L2(self.l2), L1(self.l1)) if ball.epsilon)

    def __call__(self, loss_fn: "LossFn", x: "Images", *, seed: "Seed | int") -> "Images":
        """x_adv, like x; no gradient flows through it.

        Raises:
          ValueError: `loss_fn` does not give one number for each image.
        """
        from jeat_tf.attacks.msd import msd
        from jeat_tf.core.seeds import as_seed

        return msd(
            loss_fn,
            x,
            seed=as_seed(seed),
            balls=self.balls,
            share=min(2.5 / max(self.steps, 1), 1.0) if self.step_share is None else self.step_share,
            num_steps=self.steps,
            random_start=self.start == "random",
        )


ATTACKS = by_word(PGD, FGSM, FGSMBesideNoise, MSD)
"""Training attacks by name."""
