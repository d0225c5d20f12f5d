"""A net under attacks by name: which images are unbroken after each, and a row of results about it."""

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.attacks.ensemble import STANDING, Standing, joined, names_of, run_in_order
from jeat_tf.attacks.named import Named, named
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.plans import Plan, fitting
from jeat_tf.attacks.search import predictions
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.balls import Ball, epsilon_text
from jeat_tf.data.labelled import LabelledImages
from jeat_tf.evaluate.classes import by_class, over_targets
from jeat_tf.metrics.intervals import accuracy_of
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.results import AttackRow
from jeat_tf.runs.verdict_parts import state_file
from jeat_tf.runs.verdicts import StoredStanding

_FAST = "autoattack-fast"


class Column(NamedTuple):
    """One attack in one ball.

    Attributes:
      name: as on the command line, with the target, e.g. "pgd20 to next".
      ball: where successes count.
      attack: its runs.
      oracle: the net that is attacked.
      judge: the net that decides; another than the attacked one only for attacks that do not know of a refinement.
      shift: what is added to the label to get the target, of attacks that try all targets in turn.
    """

    name: str
    ball: Ball
    attack: Named
    oracle: Oracle
    judge: Oracle
    shift: int | None = None

    @property
    def key(self) -> str:
        target = "" if self.shift is None else f"_{self.shift}"
        name = re.sub(r"[ /]", "_", self.name)  # a file's name, e.g. of pgd20@2/255
        return f"{name}{target}_{self.ball.norm}_{self.ball.epsilon:.6f}"


def columns(
    names: list[str],
    balls: list[Ball],
    oracle: Oracle,
    blind: Oracle | None,
    suspected: bool,
    image_shape: tuple[int, ...],
    turned: Callable[[Named], Sequence[Named]] = lambda attack: (attack,),
) -> Iterator[Column]:
    """The attacks in every ball; those of the least distance once for each norm.

    Args:
      names: of attacks, as on the command line; "clean" is no attack.
      balls: of one norm the largest first.
      oracle: the net that is attacked, and decides.
      blind: the net without its refinement, if attacks on that are to be shown as well.
      suspected: there are signs of gradient masking, so that fast attacks get more to do.
      image_shape: (H, W, C).
      turned: an attack -> the attacks to run in its place, e.g. one to each target.
    """
    seen: set[tuple[str, str]] = set()
    for ball in balls:
        for name in names:
            if name == "clean":
                continue
            attack = named(name, ball)
            attack = attack._replace(plan=fitting(attack.plan, image_shape))
            if name == _FAST and suspected:
                attack = _escalated(attack)
            unbounded = (name, attack.ball.norm)
            if not attack.in_ball and unbounded in seen:
                continue
            seen.add(unbounded)
            attacks = turned(attack)
            turns = range(1, 1 + len(attacks)) if len(attacks) > 1 else (None,)
            attacked = [
                Column(each.name, ball, each, oracle, oracle, turn) for turn, each in zip(turns, attacks, strict=True)
            ]
            yield from attacked
            if blind is not None:
                yield from (each._replace(name=f"{each.name} on the net alone", oracle=blind) for each in attacked)


def _escalated(attack: Named) -> Named:
    return attack._replace(
        plan=Plan(tuple(run._replace(within=None) for run in attack.plan.runs), attack.plan.order),
        protocol=f"{attack.protocol}; of all images, because the audit found signs of gradient masking",
    )


def attack(
    config: EvaluateConfig,
    column: Column,
    data: LabelledImages,
    logits: np.ndarray,
    state: str,
    identity: dict[str, Any],
    shards: Sequence[str],
) -> tuple[Standing, float]:
    """Runs the attack of a column on shards of the images, from where the files in `state` are.

    Args:
      config: seed, batch size, what to keep.
      column: the attack.
      data: all images.
      logits: float32[N, K], of all images.
      state: folder of the files that survive an interruption.
      identity: what has to be equal for a file to belong to this evaluation.
      shards: "i/m" for each, in order, or one empty string for all images.

    Returns:
      standing: of the images of these shards.
      seconds: that all processes spent on them.

    Raises:
      ValueError: a file of another evaluation, or an unreadable one.
    """
    identity = identity | {
        "attack": column.name,
        "norm": column.ball.norm,
        "epsilon": column.ball.epsilon,
        "plan": column.attack.protocol,
    }
    found = [
        _attack_shard(config, column, data, logits, state_file(state, column.key, shard), identity, shard)
        for shard in shards
    ]
    standings, seconds = zip(*found, strict=True)
    return joined(standings), sum(seconds)


def _attack_shard(
    config: EvaluateConfig,
    column: Column,
    data: LabelledImages,
    logits: np.ndarray,
    path: str,
    identity: dict[str, Any],
    shard: str,
) -> tuple[Standing, float]:
    part = part_of(shard, len(data.labels), "images")
    data, logits = data.part(part), logits[part.start : part.stop]
    plan, in_ball = column.attack.plan, column.attack.in_ball
    kept = data.images[:] if config.save_adversarial or column.judge is not column.oracle else None
    stored = StoredStanding(
        path,
        Standing(logits.argmax(-1) == data.labels, kept, passes=column.oracle.samples),
        identity | ({"shard": shard} if shard else {}),
    )
    standing = stored.standing
    runs = run_in_order(
        column.oracle,
        plan,
        data.images,
        data.labels,
        logits,
        standing,
        seed=tf.constant([config.seed, 5]),
        batch_size=config.batch_size,
    )
    total = sum(run.passes for run in plan.runs)
    radius = f" {epsilon_text(column.ball)}" if in_ball else ""
    described = f"{column.name}{radius}{f', shard {shard}' if shard else ''}"
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    started = time.monotonic()
    with tqdm(total=total * len(data.labels), desc=described, bar_format=bar_format, disable=None) as bar:
        for _ in runs:
            bar.n = _progress(plan, standing, total, config.batch_size)
            bar.set_postfix_str(f"{np.mean(standing.broken_by == STANDING):.1%} unbroken", refresh=False)
            bar.refresh()
            stored.save(time.monotonic() - started)
        bar.n = bar.total
        bar.refresh()
    if bar.disable:  # not on a terminal
        seconds = time.monotonic() - started
        print(f"{described}: {np.mean(standing.broken_by == STANDING):.1%} unbroken, {seconds:.0f} s", flush=True)
    return standing, stored.finish(time.monotonic() - started)


def results_of(
    config: EvaluateConfig,
    column: Column,
    labels: np.ndarray,
    logits: np.ndarray,
    standing: Standing,
    seconds: float,
) -> tuple[AttackRow, dict[str, np.ndarray]]:
    """The row of a column, and its arrays with one entry for each image.

    Args:
      config: batch size, what to keep.
      column: the attack.
      labels: int[N].
      logits: float32[N, K], of the images as they are.
      standing: which of all N images are unbroken after it.
      seconds: spent on it.
    """
    plan, protocol, in_ball = column.attack.plan, column.attack.protocol, column.attack.in_ball
    broken_by = names_of(standing, plan)
    success, judged = standing.broken_by >= 0, 0
    found = {
        "correct": standing.broken_by == STANDING,
        "predicted": np.where(success, standing.predicted, logits.argmax(-1)),
    }
    if column.judge is not column.oracle:
        assert standing.x_adv is not None
        batches = np.array_split(standing.x_adv, -(-len(labels) // config.batch_size))
        found["predicted"] = np.concatenate([predictions(column.judge, x).argmax(-1) for x in batches])
        judged = column.judge.samples
        if column.attack.targeted:  # the attacked net was moved to the target: is the judge?
            success &= found["predicted"] == standing.predicted
            found["correct"] = (standing.broken_by >= STANDING) & ~success
        else:
            found["correct"] = found["predicted"] == labels
            success &= ~found["correct"]
    found |= {"broken_by": broken_by, "success": success, "distance": standing.distance}
    found |= {"forwards": standing.forwards + judged, "gradients": standing.gradients}
    if config.save_adversarial and standing.x_adv is not None:
        found["x_adv"] = standing.x_adv
    row = AttackRow(
        attack=column.name,
        norm=column.attack.ball.norm,
        epsilon=column.ball.epsilon if in_ball else None,
        epsilon_text=epsilon_text(column.ball) if in_ball else "no bound",
        in_ball=in_ball,
        **accuracy_of(found["correct"]),
        broken_by={name: int(np.sum(broken_by == name)) for name in dict.fromkeys(broken_by) if name},
        largest_distance=float(standing.distance.max()),
        median_distance=float(np.median(standing.distance[success])) if success.any() else None,
        forwards=int(found["forwards"].sum()),
        gradients=int(standing.gradients.sum()),
        seconds=round(seconds, 2),
        protocol=protocol,
        **by_class(labels, found["correct"], found["predicted"], logits.shape[-1]),
    )
    return row, found


def merged(
    rows: Sequence[AttackRow], arrays: Sequence[dict[str, np.ndarray]], labels: np.ndarray
) -> tuple[AttackRow, dict[str, np.ndarray]]:
    """One row of an attack that was turned to each of several targets: an image counts if it reached none.

    Args:
      rows: of `results_of`, in the order of the targets.
      arrays: of `results_of`, likewise.
      labels: int[N].
    """
    correct = np.logical_and.reduce([found["correct"] for found in arrays])
    moved = [found["success"] for found in arrays]
    distances = np.concatenate([found["distance"][some] for found, some in zip(arrays, moved, strict=True)])
    row = dataclasses.replace(
        rows[0],
        **accuracy_of(correct),
        broken_by={"clean": int(np.sum(arrays[0]["broken_by"] == "clean"))},
        largest_distance=float(distances.max(initial=0.0)),
        median_distance=float(np.median(distances)) if len(distances) else None,
        forwards=sum(row.forwards or 0 for row in rows),
        gradients=sum(row.gradients or 0 for row in rows),
        seconds=round(sum(row.seconds or 0.0 for row in rows), 2),
        confusion=None,
        **over_targets(labels, moved, correct, len(rows) + 1),
    )
    return row, {"correct": correct}


def _progress(plan: Plan, standing: Standing, total: int, batch_size: int) -> int:
    """Passes that are done or that broken images no longer need."""
    left = int(np.sum(standing.broken_by == STANDING))
    finished = sum(run.passes for run in plan.runs[: standing.run])
    at_hand = plan.runs[standing.run].passes * min(standing.position * batch_size, left)
    return (len(standing.broken_by) - left) * total + left * finished + at_hand
