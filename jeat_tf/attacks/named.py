"""Attacks by the names that a command line uses."""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from jeat_tf.attacks import losses
from jeat_tf.attacks.carlini_wagner import carlini_wagner_l2, carlini_wagner_linf
from jeat_tf.attacks.ensemble import EOT_SAMPLES, STANDING, attacked, names_of
from jeat_tf.attacks.evaluation import NAMES, Robustness
from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.orders import by_logit
from jeat_tf.attacks.plans import ATTACKS, VERSIONS, Plan, Run, autoattack_plan
from jeat_tf.attacks.search import Search
from jeat_tf.attacks.steps import noise_search, pgd_search
from jeat_tf.attacks.surrogates import inference
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import L2, Ball, Linf, ball_of
from jeat_tf.core.units import number
from jeat_tf.core.values import nearest

_FIXED_CONSTANT = 0.2  # as JEAT's tables report C&W
_C_W_STEPS = 1000
_LINF_CONSTANT = 0.01  # the published 1e-5 takes ten doublings to get here


class Named(NamedTuple):
    """What a name stands for.

    Attributes:
      name: of the attack.
      ball: where x_adv may be.
      plan: the runs.
      protocol: description of how it attacks.
      in_ball: False for attacks of the least distance in all of [0, 1], whose result does not depend on epsilon.
      targeted: whether success is a given class alone, and not any but the label.
    """

    name: str
    ball: Ball
    plan: Plan
    protocol: str
    in_ball: bool = True
    targeted: bool = False

    def robustness(self, net: Any, images: Any, labels: Any, *, seed: int = 0, batch_size: int = 200) -> Robustness:
        """Runs the attack on all images; see `evaluation.Evaluation`."""
        oracle = (
            net
            if isinstance(net, Oracle)
            else Oracle(
                inference(net) if isinstance(net, keras.Model) else net,
                samples=EOT_SAMPLES if self.name == "autoattack-rand" else 1,
            )
        )
        plan, correct, standing = attacked(net, oracle, self.plan, images, labels, seed=seed, batch_size=batch_size)
        assert standing.x_adv is not None  # `attacked` keeps it
        return Robustness(
            attack=self.name,
            ball=self.ball,
            correct=correct,
            unbroken=standing.broken_by == STANDING,
            broken_by=names_of(standing, plan),
            x_adv=standing.x_adv,
            passes=int(standing.forwards.sum() + 2 * standing.gradients.sum()),
        )


def named(name: str, ball: Ball) -> Named:
    """The attack of that name.

    Args:
      name: noise, fgsm, fgsm_rs, pgdN, energyN, cw_linfN (N steps; pgdNxR with R restarts;
        pgdN@2/255 with steps of 2/255), cw_l2, cw_l2_fixed, cw_linf_min, fab_min, apgd-ce, apgd-dlr, apgd-t, fab,
        fab-t, square, autoattack, autoattack-plus, autoattack-rand, autoattack-fast.
      ball: where x_adv may be.

    Raises:
      ValueError: no such attack, with the nearest names.
    """
    if name in _PLAIN:
        return _PLAIN[name](ball)
    if name in ATTACKS:
        return Named(
            name, ball, autoattack_plan([name], ball), "as in AutoAttack, one run (fab-t, apgd-t: one for each target)"
        )
    version = "standard" if name == "autoattack" else name.removeprefix("autoattack-")
    if name.startswith("autoattack") and version in VERSIONS:
        plan = autoattack_plan(version, ball)
        words = f"{VERSIONS[version]}, in order, each on the images that are still unbroken; targets: {plan.order.name}"
        return Named(name, ball, plan, words)
    match = re.fullmatch(r"(pgd|energy|cw_linf)([1-9]\d*)?(?:x([1-9]\d*))?(?:@([\d./]+))?", name)
    if match is None or (match[1] == "pgd" and not match[2]):
        known = [*NAMES, "pgd20", "pgd50", "energy20"]
        raise ValueError(f'unknown attack "{name}"; {nearest(name, known)}')
    _, _, default = _ASCENTS[match[1]]
    steps, restarts = int(match[2] or default), int(match[3] or 1)
    step_size = number(match[4]) if match[4] else None
    return ascent(name, PGD(ball, steps=steps, step_size=step_size), restarts, match[1])


def ascent(name: str, attack: PGD, restarts: int = 1, kind: str = "pgd") -> Named:
    """PGD as a search that stops at the first success.

    Args:
      name: what reports call it.
      attack: ball, steps and start.
      restarts: random starts, one after the other.
      kind: what it raises: "pgd" the cross-entropy, "energy" E(x, y), "cw_linf" the margin of logits.
    """
    if restarts < 1:
        raise ValueError(f"expected restarts of at least 1, received {restarts}")
    if attack.start not in ("image", "random"):
        raise ValueError(
            f'expected an evaluation by PGD from start="image" or "random", received "{attack.start}", which is for '
            "training alone"
        )
    if restarts > 1 and attack.start == "image":
        raise ValueError(f'expected start="random" with {restarts} restarts: from the image all are the same')
    words, loss, _ = _ASCENTS[kind]
    search = functools.partial(
        pgd_search,
        ball=attack.ball,
        loss=loss,
        step_size=attack.length,
        num_steps=attack.steps,
        random_start=attack.start == "random",
    )
    starts = (
        "the image" if attack.start == "image" else "one random start" if restarts == 1 else f"{restarts} random starts"
    )
    return Named(
        name,
        attack.ball,
        Plan((Run(name, search, attack.ball, passes=2 * attack.steps),) * restarts, by_logit),
        f"{attack.steps} steps of {attack.length:.5g} up {words}, {starts}, until the first success",
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
        f"C&W l2 with c = {_FIXED_CONSTANT}, {_C_W_STEPS} Adam steps of 0.01, no search of c and no bound: images "
        "that survive it are no evidence of robustness"
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


def _fab_min(ball: Ball) -> Named:
    everywhere = Linf(1.0) if ball.norm == "linf" else ball_of(ball.norm, float("inf"))
    words = f"least {ball.norm} distance by FAB without a target, 100 steps, no bound"
    search = functools.partial(fab, ball=everywhere, verdict_only=False)
    return _nearest("fab_min", search, everywhere, 1900, words)


def _single(name: str, search: Search, ball: Ball, passes: int, protocol: str) -> Named:
    return Named(name, ball, Plan((Run(name, search, ball, passes),), by_logit), protocol)


def _nearest(name: str, search: Search, ball: Ball, passes: int, protocol: str) -> Named:
    return Named(name, ball, Plan((Run(name, search, ball, passes, bounded=False),), by_logit), protocol, in_ball=False)


_PLAIN: dict[str, Callable[[Ball], Named]] = {
    "noise": _noise,
    "fgsm": _one_step("fgsm", 1.0, random_start=False),
    "fgsm_rs": _one_step("fgsm_rs", 1.25, random_start=True),
    "cw_l2": _cw_l2,
    "cw_l2_fixed": _cw_l2_fixed,
    "cw_linf_min": _cw_linf_min,
    "fab_min": _fab_min,
}
_ASCENTS = {
    "pgd": ("the cross-entropy", losses.cross_entropy, 20),
    "energy": ("E(x, y)", losses.joint_energy, 20),
    "cw_linf": ("the margin of logits", losses.margin, 50),
}
