"""Attacks by the names that a command line uses."""

import difflib
import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from jeat_tf.attacks import losses
from jeat_tf.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from jeat_tf.attacks.ensemble import ATTACKS, VERSIONS, Plan, Run, autoattack_plan, by_logit
from jeat_tf.attacks.search import Search
from jeat_tf.attacks.steps import noise_search, pgd_search
from jeat_tf.core.balls import L2, Ball, Linf

_FIXED_CONSTANT = 0.2  # as JEAT's tables report C&W
_C_W_STEPS = 1000
_LINF_CONSTANT = 0.01  # the published 1e-5 takes ten doublings to get here


class Named(NamedTuple):
    """What a name stands for.

    Attributes:
      plan: the runs.
      protocol: how it attacks, in words.
      in_ball: False for attacks of the least distance in all of [0, 1], whose result does not depend on epsilon.
    """

    plan: Plan
    protocol: str
    in_ball: bool = True


def named(name: str, ball: Ball) -> Named:
    """The attack of that name.

    Args:
      name: noise, fgsm, fgsm_rs, pgdN, energyN, cw_linfN (N steps; pgdNxR with R restarts), cw_l2, cw_l2_fixed,
        cw_linf_min, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, autoattack, autoattack-plus, autoattack-rand,
        autoattack-fast.
      ball: where x_adv may be.

    Raises:
      ValueError: no such attack, with the nearest names.
    """
    if name in _PLAIN:
        return _PLAIN[name](ball)
    if name in ATTACKS:
        return Named(autoattack_plan([name], ball), "as in AutoAttack, one run (fab-t, apgd-t: one for each target)")
    version = name.removeprefix("autoattack").removeprefix("-") or "standard"
    if name.startswith("autoattack") and version in VERSIONS:
        plan = autoattack_plan(version, ball)
        parts = ", ".join(VERSIONS[version])
        return Named(plan, f"{parts}, in order, each on the images that stand; targets: {plan.order.name}")
    match = re.fullmatch(r"(pgd|energy|cw_linf)([1-9]\d*)?(?:x([1-9]\d*))?", name)
    if match is None or (match[1] == "pgd" and not match[2]):
        known = [*_PLAIN, *ATTACKS, "autoattack", *(f"autoattack-{v}" for v in VERSIONS), "pgd20", "pgd50", "energy"]
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of clean, {', '.join(known)}"
        raise ValueError(f'unknown attack "{name}"; {hint}')
    words, loss, default = _ASCENTS[match[1]]
    steps, restarts = int(match[2] or default), int(match[3] or 1)
    step_size = ball.epsilon * min(2.5 / steps, 1.0)
    search = functools.partial(pgd_search, ball=ball, loss=loss, step_size=step_size, num_steps=steps)
    starts = "one random start" if restarts == 1 else f"{restarts} random starts"
    return Named(
        Plan((Run(name, search, ball, passes=2 * steps),) * restarts, by_logit),
        f"{steps} steps of {step_size:.5g} up {words}, {starts}, until the first success",
    )


def _one_step(name: str, factor: float, random_start: bool) -> Callable[[Ball], Named]:
    def make(ball: Ball) -> Named:
        step_size = factor * ball.epsilon
        search = functools.partial(pgd_search, ball=ball, step_size=step_size, num_steps=1, random_start=random_start)
        start = "a random start" if random_start else "x"
        return _single(name, search, ball, 2, f"one step of {step_size:.5g} up the cross-entropy from {start}")

    return make


def _noise(ball: Ball) -> Named:
    search = functools.partial(noise_search, ball=ball)
    return _single("noise", search, ball, 100, "100 points drawn uniformly from the ball")


def _cw_l2(ball: Ball) -> Named:
    del ball
    words = f"least l2 distance, 9 constants from 0.001 by search, {_C_W_STEPS} Adam steps of 0.01 each, no bound"
    search = functools.partial(carlini_wagner_l2, num_steps=_C_W_STEPS)
    return _nearest("cw_l2", search, L2(float("inf")), 2 * 9 * _C_W_STEPS, words)


def _cw_l2_fixed(ball: Ball) -> Named:
    del ball
    words = (
        f"C&W l2 with c = {_FIXED_CONSTANT}, {_C_W_STEPS} Adam steps of 0.01, no search of c and no bound: images that "
        "stand are no evidence of robustness"
    )
    search = functools.partial(carlini_wagner_l2, num_steps=_C_W_STEPS, search_steps=1, constant=_FIXED_CONSTANT)
    return _nearest("cw_l2_fixed", search, L2(float("inf")), 2 * _C_W_STEPS, words)


def _cw_linf_min(ball: Ball) -> Named:
    del ball
    words = (
        f"least l-inf distance (Carlini & Wagner, sec. VI-C), c from {_LINF_CONSTANT}, "
        f"at most {9 * _C_W_STEPS} Adam steps of 0.005, no bound"
    )
    search = functools.partial(
        carlini_wagner_linf, num_steps=_C_W_STEPS, max_gradients=9 * _C_W_STEPS, constant=_LINF_CONSTANT
    )
    return _nearest("cw_linf_min", search, Linf(1.0), 2 * 9 * _C_W_STEPS, words)


def _single(name: str, search: Search, ball: Ball, passes: int, protocol: str) -> Named:
    return Named(Plan((Run(name, search, ball, passes),), by_logit), protocol)


def _nearest(name: str, search: Search, ball: Ball, passes: int, protocol: str) -> Named:
    return Named(Plan((Run(name, search, ball, passes, bounded=False),), by_logit), protocol, in_ball=False)


_PLAIN: dict[str, Callable[[Ball], Named]] = {
    "noise": _noise,
    "fgsm": _one_step("fgsm", 1.0, random_start=False),
    "fgsm_rs": _one_step("fgsm_rs", 1.25, random_start=True),
    "cw_l2": _cw_l2,
    "cw_l2_fixed": _cw_l2_fixed,
    "cw_linf_min": _cw_linf_min,
}
_ASCENTS = {
    "pgd": ("the cross-entropy", losses.cross_entropy, 20),
    "energy": ("E(x, y)", losses.joint_energy, 20),
    "cw_linf": ("the margin of logits", losses.margin, 50),
}
