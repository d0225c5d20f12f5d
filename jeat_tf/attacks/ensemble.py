"""Attacks in order, each on the images that are still unbroken."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.misfits import warn_of_misfits, warn_of_precision
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.plans import Plan, Run, autoattack_plan, fitting
from jeat_tf.attacks.search import predictions
from jeat_tf.core.balls import Ball
from jeat_tf.core.checks import admit, admit_images, check_batch_size, check_labels, check_taken
from jeat_tf.core.logits import check_head
from jeat_tf.core.seeds import as_seed, fold_in
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

STANDING, MISCLASSIFIED = -1, -2  # in place of the index of the run that broke an image
TOLERANCE = 1e-6  # rounding of x + epsilon in float32; a share of epsilon where that is above 1
EOT_SAMPLES = 20  # of AutoAttack's version "rand"


class Standing:
    """Which images are unbroken after which run: all the state that an interrupted evaluation needs to resume.

    Attributes:
      broken_by: int16[N]; STANDING, MISCLASSIFIED, or the index of the run that broke the image.
      predicted: int32[N], the class of the adversarial image; -1 without one.
      distance: float32[N], from the image to the adversarial one in the run's norm; 0 without one.
      nearest: float32[N], least distance to an adversarial image, inside the ball or not; infinite without one.
      near: bool[N], the images that runs with `within` attack; known once the first of them begins.
      forwards, gradients: int64[N], passes of the image through the net, including the clean image's and those of
        verdicts.
      run, position: where to resume: the index of the run, and how many of its batches are done.
      x_adv: float32[N, H, W, C], or None where adversarial images are not kept.
    """

    ARRAYS = ("broken_by", "predicted", "distance", "nearest", "near", "forwards", "gradients", "x_adv")

    def __init__(self, correct: np.ndarray, keep: np.ndarray | None = None, *, passes: int = 0):
        """
        Args:
          correct: bool[N], the images that are classified correctly.
          keep: the images, if x_adv is to be kept.
          passes: forward passes of each image that it took to know this.
        """
        self.broken_by = np.where(correct, STANDING, MISCLASSIFIED).astype(np.int16)
        self.predicted = np.full(len(correct), -1, np.int32)
        self.distance = np.zeros(len(correct), np.float32)
        self.nearest = np.full(len(correct), np.inf, np.float32)
        self.near = np.zeros(len(correct), bool)
        self.forwards = np.full(len(correct), passes, np.int64)
        self.gradients = np.zeros(len(correct), np.int64)
        self.x_adv = None if keep is None else np.array(keep, np.float32)
        self.run = self.position = 0


class AutoAttackResult(NamedTuple):
    """One entry for each image.

    Attributes:
      x_adv: float32[N, H, W, C]; the image itself where it is unbroken or was misclassified from the start.
      broken: bool[N], misclassified from the start or adversarial.
      broken_by: str[N], name of the attack, "clean" where misclassified from the start, "" where it is unbroken.
      forwards, gradients: int64[N], passes of the image through the net.
    """

    x_adv: np.ndarray
    broken: np.ndarray
    broken_by: np.ndarray
    forwards: np.ndarray
    gradients: np.ndarray


def autoattack(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed | int,
    ball: Ball,
    attacks: str | Sequence[str] = "standard",
    batch_size: int = 200,
) -> AutoAttackResult:
    """AutoAttack (Croce & Hein, 2020, https://arxiv.org/abs/2003.01690), native.

    >>> result = autoattack(net, images, labels, seed=[0, 0], ball=Linf(8 / 255))
    >>> robust_accuracy = 1 - result.broken.mean()

    Results do not depend on batch_size or on the order of the images, except for the rounding of a net's kernels.

    Args:
      net: images -> logits, for instance a Keras model that was built without softmax; or an oracle.
      x: float32[N, H, W, C] in [0, 1].
      labels: int[N].
      seed: an int, or int32[2].
      ball: `Linf(epsilon)`, `L2(epsilon)` or `L1(epsilon)`. In l1 "standard" and "fast" are those of Croce & Hein
        (2021): APGD-CE starts five times, and APGD-T tries five targets.
      attacks: "standard", "plus", "rand" (each gradient and verdict is a mean over 20 passes), "fast" (APGD-CE,
        APGD-T to two targets in MALT's order and FAB-T to the first; all the rest for images that FAB-T nearly breaks,
        or cannot break at any distance), or names out of those in `ATTACKS`, a name for each restart.
      batch_size: images in memory at a time.

    Raises:
      ValueError: images outside [0, 1], bad labels, an unknown attack, epsilon not above 0, or a net that does not give
        finite logits.
    """
    if not ball.epsilon > 0:
        raise ValueError(f"expected a ball of epsilon > 0, received {ball.epsilon}")
    oracle = net if isinstance(net, Oracle) else Oracle(net, samples=EOT_SAMPLES if attacks == "rand" else 1)
    plan = autoattack_plan(attacks, ball)
    plan, _, standing = attacked(net, oracle, plan, x, labels, seed=seed, batch_size=batch_size)
    assert standing.x_adv is not None  # `attacked` keeps it
    return AutoAttackResult(
        x_adv=standing.x_adv,
        broken=standing.broken_by != STANDING,
        broken_by=names_of(standing, plan),
        forwards=standing.forwards,
        gradients=standing.gradients,
    )


def attacked(
    net: Any, oracle: Oracle, plan: Plan, x: Any, labels: Any, *, seed: Seed | int, batch_size: int
) -> tuple[Plan, np.ndarray, Standing]:
    """Checks net, images and labels, and runs all attacks of a plan.

    Args:
      net: what the user gave; warnings and errors are about it.
      oracle: the net as it is attacked.
      plan, x, labels, seed, batch_size: as in `autoattack` and `run_in_order`.

    Returns:
      plan: the runs that were made.
      correct: bool[N], the clean images that are classified correctly.
      standing: of all images, with x_adv.

    Raises:
      ValueError: images outside [0, 1], bad labels, images too small for an attack, or a net that does not give finite
        logits.
    """
    check_head(net)
    x, labels = admit(x, labels)
    check_taken(net, x)
    warn_of_precision(net)
    plan = fitting(plan, x.shape[1:])
    logits = clean_logits(oracle, x, labels, batch_size)
    correct = logits.argmax(axis=-1) == labels
    warn_of_misfits(oracle, x, labels, float(correct.mean()), stacklevel=5)
    standing = Standing(correct, keep=x, passes=oracle.samples)
    for _ in run_in_order(oracle, plan, x, labels, logits, standing, seed=as_seed(seed), batch_size=batch_size):
        pass
    return plan, correct, standing


def joined(parts: Sequence[Standing]) -> Standing:
    """The standing of all images, from the standings of consecutive parts of them after the same plan."""
    whole = Standing(np.concatenate([part.broken_by == STANDING for part in parts]))
    for name in Standing.ARRAYS:
        arrays = [getattr(part, name) for part in parts]
        setattr(whole, name, None if arrays[0] is None else np.concatenate(arrays))
    whole.run, whole.position = parts[0].run, parts[0].position
    return whole


def names_of(standing: Standing, plan: Plan) -> np.ndarray:
    """str[N], the name of the run that broke each image; "clean" where misclassified, "" where unbroken."""
    names = np.array([*(run.name for run in plan.runs), "clean", ""])
    return names[standing.broken_by]  # -2 and -1 count from the end


def clean_logits(oracle: Oracle, x: Any, labels: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits float32[N, K] of the clean images, checked to be logits of the labels' classes.

    Args:
      x: N images float32[H, W, C] in [0, 1]; an array, or anything that gives arrays for slices.

    Raises:
      ValueError: images outside [0, 1], labels that are not classes of the net, or outputs that are not logits.
    """
    check_batch_size(batch_size)
    if len(x) != len(labels) or not len(x):
        raise ValueError(f"expected a label for each of at least one image, received {len(labels)} for {len(x)}")
    parts = []
    for start in range(0, len(x), batch_size):
        batch = x[start : start + batch_size]
        parts.append(predictions(oracle, admit_images(batch)))
    logits = np.concatenate(parts)
    oracle.learn(logits)
    check_labels(labels, logits.shape[-1])
    return logits


def run_in_order(
    oracle: Oracle,
    plan: Plan,
    x: Any,
    labels: np.ndarray,
    logits: np.ndarray,
    standing: Standing,
    *,
    seed: Seed,
    batch_size: int,
) -> Iterator[None]:
    """Runs the plan from where `standing` is, and yields after every batch, when `standing` may be stored.

    Args:
      oracle: the net.
      plan: what to run.
      x: N images float32[H, W, C] in [0, 1]; an array, or anything that gives arrays for arrays of indices.
      labels: int[N].
      logits: float32[N, K], of `clean_logits`.
      standing: which images are unbroken; changed in place.
      seed: int32[2]; a run uses fold_in(seed, its index).
      batch_size: images in a batch.

    Raises:
      ValueError: a bounded run in a ball of no finite radius.
      RuntimeError: a bounded search left its ball, or any search the range [0, 1].
    """
    for run in plan.runs:
        if run.bounded and not math.isfinite(run.ball.epsilon):
            raise ValueError(f"expected a finite radius for {run.name}, received {run.ball.epsilon:g}; give epsilon")
    ranks = np.full((len(labels), logits.shape[-1] - 1), -1, np.int32)
    first = next((i for i, run in enumerate(plan.runs) if run.target is not None), None)
    slow = next((i for i, run in enumerate(plan.runs) if run.within is not None), None)
    while standing.run < len(plan.runs):
        run = plan.runs[standing.run]
        # Those unbroken when this run began, so that an interrupted run resumes with the same batches.
        queue = np.flatnonzero((standing.broken_by == STANDING) | (standing.broken_by == standing.run))
        if run.within is not None:
            if standing.run == slow and standing.position == 0:
                radii = standing.nearest / run.ball.epsilon
                standing.near = (radii <= run.within) | np.isinf(radii)
            queue = queue[standing.near[queue]]
        if run.target is not None and run.target >= ranks.shape[1]:
            queue = queue[:0]
        batches = np.array_split(queue, -(-len(queue) // batch_size)) if len(queue) else []
        for position in range(standing.position, len(batches)):
            batch = batches[position]
            images, targets = x[batch], None
            if run.target is not None:
                unranked = batch[ranks[batch, 0] < 0]
                if len(unranked):
                    ranks[unranked] = plan.order.rank(oracle, x[unranked], labels[unranked], logits[unranked])
                    if standing.run == first:  # ranked again after an interruption alone, which costs no image anything
                        standing.gradients[unranked] += oracle.samples * plan.order.gradients(logits.shape[-1])
                targets = ranks[batch, run.target]
            found = run.search(
                oracle, images, labels[batch], seed=fold_in(tf.constant(seed), standing.run), targets=targets
            )
            distance = run.ball.distance(tf.constant(found.x_adv), tf.constant(images)).numpy()
            _check_place(run, found.x_adv, distance)
            broken = found.broken & (distance <= run.ball.epsilon + (_tolerance(run.ball) if run.bounded else 0.0))
            standing.broken_by[batch[broken]] = standing.run
            standing.predicted[batch[broken]] = found.predicted[broken]
            standing.distance[batch[broken]] = distance[broken]
            standing.nearest[batch] = np.minimum(standing.nearest[batch], np.where(found.broken, distance, np.inf))
            standing.forwards[batch] += found.forwards
            standing.gradients[batch] += found.gradients
            if standing.x_adv is not None:
                standing.x_adv[batch[broken]] = found.x_adv[broken]
            standing.position = position + 1
            yield
        standing.run, standing.position = standing.run + 1, 0


def _tolerance(ball: Ball) -> float:
    return TOLERANCE * max(ball.epsilon, 1.0)


def _check_place(run: Run, x_adv: np.ndarray, distance: np.ndarray) -> None:
    outside = max(float(x_adv.max()) - 1, -float(x_adv.min()))
    far = float(distance.max()) - run.ball.epsilon
    if not outside <= 0 or (run.bounded and not far <= _tolerance(run.ball)):
        raise RuntimeError(
            f"{run.name} left its {run.ball.norm} ball of {run.ball.epsilon:g} by {far:g} or the pixel range [0, 1] "
            f"by {outside:g}"
        )
