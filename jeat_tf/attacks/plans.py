"""The lists of attacks that AutoAttack is made of."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jeat_tf.attacks import losses
from jeat_tf.attacks.apgd import apgd
from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.orders import Order, by_logit, by_malt
from jeat_tf.attacks.search import Search
from jeat_tf.attacks.square import fits, square, too_small
from jeat_tf.core.balls import Ball

_TARGETS = 9  # classes that targeted attacks try, as published
_L1_TARGETS = 5  # of APGD-T in l1, as published
_RESTARTS = 5  # of AutoAttack's version "plus"
_FOR_ALL = {("apgd-ce", None), ("apgd-t", 0), ("apgd-t", 1), ("fab-t", 0)}  # runs of the fast version for every image
_NEAR = 1.1  # radii, in which the fast version gives an image everything that the standard one has


class Run(NamedTuple):
    """One search among several.

    Attributes:
      name: what a report calls it; several runs may share a name.
      search: the search.
      ball: where a success counts.
      passes: about how many forward passes it costs an unbroken image, a gradient counted as two; for progress.
      target: rank of the class that is pulled to among those other than the label, from 0; None: untargeted.
      bounded: the search keeps to the ball, and leaving it is an error. False for searches of the least distance, whose
        successes count when they lie inside.
      within: only images go through it of which an earlier search of the least distance found an adversarial image
        within so many radii, or none at any distance; None: all unbroken images.
    """

    name: str
    search: Search
    ball: Ball
    passes: int
    target: int | None = None
    bounded: bool = True
    within: float | None = None


class Plan(NamedTuple):
    """Runs in order, and the order of their targets."""

    runs: tuple[Run, ...]
    order: Order


def fitting(plan: Plan, image_shape: tuple[int, ...]) -> Plan:
    """The plan for images (H, W, C): the fast version goes without Square where images are too small for it.

    Raises:
      ValueError: before the first run, where a later one cannot attack such images.
    """
    small = [run.name == "square" and not fits(run.ball, image_shape) for run in plan.runs]
    for run, is_small in zip(plan.runs, small, strict=True):
        if is_small and run.within is None:
            raise ValueError(too_small(run.ball, image_shape))
    return plan._replace(runs=tuple(run for run, is_small in zip(plan.runs, small, strict=True) if not is_small))


def autoattack_plan(attacks: str | Sequence[str], ball: Ball) -> Plan:
    """The runs of a version of AutoAttack, or of a list of attacks by name.

    Raises:
      ValueError: an unknown version or attack.
    """
    if isinstance(attacks, str):
        if attacks not in VERSIONS:
            raise ValueError(f'unknown version "{attacks}" of AutoAttack; expected one of {", ".join(VERSIONS)}')
        if attacks == "fast":
            return _fast_plan(ball)
        names = _LISTS[attacks]
        if ball.norm == "l1" and attacks == "standard":
            names = ("apgd-ce",) * (_RESTARTS - 1) + names
    else:
        names = tuple(attacks)
    runs: list[Run] = []
    for i, name in enumerate(names):
        if name not in ATTACKS:
            raise ValueError(f'unknown attack "{name}"; expected one of {", ".join(ATTACKS)}')
        runs.extend(ATTACKS[name](ball, name in names[:i]))
    return Plan(tuple(runs), by_logit)


def _fast_plan(ball: Ball) -> Plan:
    """The standard version's runs: a few for every image, the rest for images that FAB-T breaks within 1.1 radii.

    Those few leave standing what the rest would break where gradients help little, and FAB-T then nearly breaks it. An
    image that FAB-T cannot break at any distance goes through the rest too. In l1, where FAB-T says less, all runs of
    APGD are for every image, as in the standard version. benchmarks/README.md has what was measured.
    """
    runs = autoattack_plan("standard", ball).runs

    def for_all(run: Run) -> bool:
        return (run.name, run.target) in _FOR_ALL or (ball.norm == "l1" and run.name.startswith("apgd"))

    rest = [run._replace(within=_NEAR, passes=run.passes // 10) for run in runs if not for_all(run)]
    return Plan((*filter(for_all, runs), *rest), by_logit if ball.norm == "l1" else by_malt)


def _apgd_runs(name: str, loss: Any, ball: Ball, restart: bool) -> list[Run]:
    del restart  # a run's start depends on its place in the plan
    return [Run(name, functools.partial(apgd, ball=ball, loss=loss), ball, passes=202)]


def _apgd_t_runs(ball: Ball, restart: bool) -> list[Run]:
    del restart
    search = functools.partial(apgd, ball=ball, loss=losses.targeted_dlr)
    targets = _L1_TARGETS if ball.norm == "l1" else _TARGETS
    return [Run("apgd-t", search, ball, passes=203, target=rank) for rank in range(targets)]


def _fab_runs(ball: Ball, restart: bool) -> list[Run]:
    return [Run("fab", functools.partial(fab, ball=ball, random_start=restart), ball, passes=1900, bounded=False)]


def _fab_t_runs(ball: Ball, restart: bool) -> list[Run]:
    search = functools.partial(fab, ball=ball, random_start=restart)
    return [Run("fab-t", search, ball, passes=300, target=rank, bounded=False) for rank in range(_TARGETS)]


def _square_runs(ball: Ball, restart: bool) -> list[Run]:
    del restart
    return [Run("square", functools.partial(square, ball=ball), ball, passes=5001)]


ATTACKS: dict[str, Callable[[Ball, bool], list[Run]]] = {
    "apgd-ce": functools.partial(_apgd_runs, "apgd-ce", losses.cross_entropy),
    "apgd-dlr": functools.partial(_apgd_runs, "apgd-dlr", losses.dlr),
    "apgd-t": _apgd_t_runs,
    "fab": _fab_runs,
    "fab-t": _fab_t_runs,
    "square": _square_runs,
}
"""(ball, whether the list had the attack before) -> runs."""

_LISTS: dict[str, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": (
        *("apgd-ce",) * _RESTARTS,
        *("apgd-dlr",) * _RESTARTS,
        *("fab",) * _RESTARTS,
        "square",
        "apgd-t",
        "fab-t",
    ),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""AutoAttack's versions as published: attacks by name, a name for each restart."""

VERSIONS: dict[str, str] = {name: ", ".join(attacks) for name, attacks in _LISTS.items()} | {
    "fast": "apgd-ce, apgd-t to two targets, fab-t to the first; then all others of autoattack on images with an "
    "adversarial image near the ball, or with none that fab-t finds"
}
"""What each version runs, in words."""
