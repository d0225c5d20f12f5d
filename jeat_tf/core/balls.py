"""Balls around an image, as values: `Linf(8 / 255)`, `L2(0.5)`, `L1(12)`."""

import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar

from jeat_tf.core.units import fraction_of_255
from jeat_tf.core.values import Value, by_word, setting, value

if TYPE_CHECKING:
    import tensorflow as tf

    from jeat_tf.core.norms import Geometry
    from jeat_tf.core.types import Images, Seed

_LEAST_L1 = 0.1  # a smaller sum over all pixels is less than one pixel's 8-bit noise, and a slip of the pen


@value
class Ball(Value):
    """The images within `epsilon` of a centre, in [0, 1] pixel units.

    Raises:
      ValueError: epsilon is negative, or looks like a value on the 0-255 scale.
    """

    epsilon: float = setting(8 / 255, "radius of the ball, in [0, 1] pixels", at_least=0.0, pixels=True)

    @property
    def norm(self) -> str:
        """ "linf", "l2" or "l1"."""
        return self.word

    def random_start(self, x: "Images", seed: "Seed") -> "Images":
        """A uniformly drawn point of the ball around x."""
        return self._geometry.random_start(x, seed)

    def random_direction(self, shape: Any, seed: "Seed") -> "tf.Tensor":
        """A random offset of length one, for a start on the ball's surface."""
        return self._geometry.random_direction(shape, seed)

    def ascent(self, gradient: "tf.Tensor", x: "Images | None" = None) -> "tf.Tensor":
        """A direction of length one in the ball's norm that follows the gradient: the steepest one, except in l1.

        Args:
          gradient: float[B, H, W, C].
          x: images that have to stay in [0, 1]; an l1 step then spends nothing on pixels that cannot move.
        """
        return self._geometry.ascent(gradient, x)

    def project(self, x: "Images", center: "Images") -> "Images":
        """The nearest point of the ball around `center`."""
        return self._geometry.project(x, center)

    def inside(self, x: "Images", center: "Images") -> "Images":
        """A point of the ball around `center` that is an image in [0, 1]; for l-inf and l1 the nearest one."""
        return self._geometry.inside(x, center)

    def distance(self, x: "Images", center: "Images") -> "tf.Tensor":
        """float[B], the distance of each image from its centre."""
        return self._geometry.distance(x, center)

    def scaled(self, factor: float) -> "Ball":
        """The ball of the same norm whose radius is `factor` times as large."""
        return type(self)(self.epsilon * factor)

    @functools.cached_property
    def _geometry(self) -> "Geometry":
        raise NotImplementedError


@value
class Linf(Ball):
    """Each pixel within epsilon: the threat model 8/255 of CIFAR-10."""

    word: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon > 1:
            given = f"{self.epsilon:g}"
            remedy = f", which looks like a 0-255 value; write {given}/255" if self.epsilon <= 255 else ""
            raise ValueError(f"Linf(epsilon={given}): expected epsilon in [0, 1] pixel units, received {given}{remedy}")

    @functools.cached_property
    def _geometry(self) -> "Geometry":
        from jeat_tf.core.norms import linf

        return linf(self.epsilon)


@value
class L2(Ball):
    """The Euclidean norm over all pixels of an image within epsilon: the threat model 0.5 of CIFAR-10."""

    word: ClassVar[str] = "l2"

    epsilon: float = setting(0.5, "radius of the ball, in [0, 1] pixels", at_least=0.0)

    @functools.cached_property
    def _geometry(self) -> "Geometry":
        from jeat_tf.core.norms import l2

        return l2(self.epsilon)


@value
class L1(Ball):
    """The sum of the absolute changes of all pixels within epsilon: the threat model 12 of CIFAR-10."""

    word: ClassVar[str] = "l1"

    epsilon: float = setting(12.0, "radius of the ball, in [0, 1] pixels summed over the image", at_least=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.epsilon < _LEAST_L1:
            raise ValueError(
                f"L1(epsilon={self.epsilon:g}): expected a radius that is a sum over all pixels, e.g. 12 for CIFAR-10, "
                f"received {self.epsilon:g}, which looks like a radius of l-inf; did you mean Linf({self.epsilon:g})?"
            )

    @functools.cached_property
    def _geometry(self) -> "Geometry":
        from jeat_tf.core.norms import l1

        return l1(self.epsilon)


BALLS = by_word(Linf, L2, L1)
"""The balls by the name of their norm."""


def ball_of(norm: str, epsilon: float) -> Ball:
    """The ball of a norm by its name."""
    return BALLS[norm](epsilon)  # type: ignore[call-arg, return-value]


def epsilon_text(ball: Ball) -> str:
    """The radius as one would write it: "8/255" for l-inf, "0.5" for l2, "12" for l1."""
    return fraction_of_255(ball.epsilon) if ball.norm == "linf" and math.isfinite(ball.epsilon) else f"{ball.epsilon:g}"
