"""Attacks that have to reach a given class: any attack of `named`, turned to a target."""

import functools
from typing import Any

from jeat_tf.attacks import losses
from jeat_tf.attacks.apgd import apgd
from jeat_tf.attacks.named import Named
from jeat_tf.attacks.oracle import LogitsLoss
from jeat_tf.attacks.orders import Order, by_class, shuffled
from jeat_tf.attacks.plans import Plan, Run
from jeat_tf.attacks.steps import pgd_search

TARGETS = {
    "next": "the class after the label",
    "random": "a class drawn for each image",
    "all": "each other class in turn",
}
"""Which class has to be reached, by the word of the command line."""

_TOWARD: dict[LogitsLoss, LogitsLoss] = {
    losses.cross_entropy: losses.targeted_cross_entropy,
    losses.joint_energy: losses.targeted_energy,
    losses.margin: losses.target_lead,
    losses.dlr: losses.targeted_dlr,
    losses.targeted_dlr: losses.targeted_dlr,
}


def toward(attack: Named, targets: str, num_classes: int, seed: int = 0) -> list[Named]:
    """The attack with success at a target alone: one attack for "next" and "random", K - 1 for "all".

    With "all" the i-th attack pulls each image to the class (label + i + 1) mod K.
    """
    if targets == "all":
        return [_at(attack, targets, by_class, rank) for rank in range(num_classes - 1)]
    return [toward_one(attack, targets, seed)]


def toward_one(attack: Named, targets: str, seed: int = 0) -> Named:
    """The attack with success at one target of each image alone, "next" or "random".

    Losses become their targeted forms, and a run for each of several targets becomes one for the target.

    Raises:
      ValueError: another word.
    """
    if targets not in ("next", "random"):
        raise ValueError(f'expected targets "next" or "random", received "{targets}"')
    return _at(attack, targets, shuffled(seed) if targets == "random" else by_class, 0)


def _at(attack: Named, targets: str, order: Order, rank: int) -> Named:
    runs = tuple(_pulled(run, rank) for run in attack.plan.runs if not run.target)
    words = f"{attack.protocol.partition('; targets:')[0]}; success is {TARGETS[targets]} alone"
    return attack._replace(name=f"{attack.name} to {targets}", plan=Plan(runs, order), protocol=words, targeted=True)


def _pulled(run: Run, rank: int) -> Run:
    plain: Any = run.search
    search = functools.partial(plain, targeted=True)
    if search.func in (pgd_search, apgd):
        loss = _TOWARD[search.keywords.get("loss", losses.cross_entropy)]
        search = functools.partial(search.func, **{**search.keywords, "loss": loss})
    return run._replace(search=search, target=rank)
