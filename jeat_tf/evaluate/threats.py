"""Which balls and attacks the settings of an evaluation name, and which images survive all of them."""

from collections.abc import Iterator, Mapping

import numpy as np

from jeat_tf.attacks.named import named
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import Ball, ball_of, epsilon_text
from jeat_tf.core.units import numbers
from jeat_tf.evaluate.classes import per_class
from jeat_tf.metrics.intervals import accuracy_of
from jeat_tf.runs.results import AttackRow

_USUAL = {"linf": "8/255", "l2": "0.5", "l1": "12"}  # radii of CIFAR-10, as examples


def balls_of(config: EvaluateConfig, run: TrainConfig | None) -> list[Ball]:
    """The balls: of one norm the largest first, of several norms one for each, in the order given.

    Raises:
      ValueError: no radius, or several norms without a radius for each.
    """
    radii, norms = numbers(config.epsilon), config.norms
    if len(norms) > 1:
        if len(radii) != len(norms):
            usual = ",".join(_USUAL[norm] for norm in norms)
            raise ValueError(
                f"expected a radius for each norm of {config.norm}, e.g. --epsilon={usual}, received "
                f"{config.epsilon or 'none'}"
            )
        return [ball_of(norm, radius) for norm, radius in zip(norms, radii, strict=True)]
    norm = norms[0]
    if not radii and run and run.ball.norm == norm:
        radii = (run.ball.epsilon,)
    if not radii:
        known = f"an {norm} radius has no default" if run else "the net comes without the settings of a run"
        raise ValueError(f"expected --epsilon, e.g. {_USUAL[norm]}: {known}")
    return [ball_of(norm, radius) for radius in sorted(set(radii), reverse=True)]


def attack_names(config: EvaluateConfig) -> list[str]:
    """Names of the attacks that the settings ask for.

    Raises:
      ValueError: none, an unknown one, or settings that no evaluation can have.
    """
    names = [name.strip() for name in config.attacks.split(",") if name.strip()]
    if not names:
        raise ValueError("expected --attacks, received none; e.g. --attacks=clean,pgd20,autoattack")
    for radius in numbers(config.epsilon):
        if len(config.norms) == 1:
            ball_of(config.norm, radius)
        if not 0 < radius < float("inf"):
            raise ValueError(f"expected epsilon > 0, received {radius:g}")
    for name in names:
        if name != "clean":
            named(name, ball_of(config.norms[0], 1.0))
    return names


def worst_rows(worst: Mapping[Ball, np.ndarray], labels: np.ndarray, num_classes: int) -> Iterator[AttackRow]:
    """A row "worst case" for each ball, and with several norms a row "worst of all".

    Args:
      worst: bool[N] for each ball, images that no attack broke there.
      labels: int[N].
      num_classes: K.
    """
    for ball, unbroken in worst.items():
        yield AttackRow(
            attack="worst case",
            norm=ball.norm,
            epsilon=ball.epsilon,
            epsilon_text=epsilon_text(ball),
            protocol="all rows above in this ball",
            **accuracy_of(unbroken),
            per_class=per_class(labels, unbroken, num_classes),
        )
    if len({ball.norm for ball in worst}) > 1:
        unbroken = np.logical_and.reduce(list(worst.values()))
        yield AttackRow(
            attack="worst of all",
            epsilon=None,
            epsilon_text="",
            protocol="an image counts if nothing broke it in any of "
            + ", ".join(f"{ball.norm} {epsilon_text(ball)}" for ball in worst),
            **accuracy_of(unbroken),
            per_class=per_class(labels, unbroken, num_classes),
        )
