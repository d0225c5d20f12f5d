"""Carlini & Wagner's searches for a near adversarial image (2017, https://arxiv.org/abs/1608.04644).

Images are optimised as tanh(w) / 2 + 1 / 2, which stays in [0, 1]. Each image runs its own schedule of constants: when
one constant ends, the image's next begins at once, whatever the others in the batch do.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, select_rows
from jeat_tf.attacks.search import Cost, Found, search
from jeat_tf.attacks.tanh_space import Adam, each, image, inverse
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

_NO_PROGRESS = 0.9999  # a loss above this share of that at the last check ends the constant
_CHECKS = 10  # checks for progress in a constant's steps
_SOLVED = 1e-4  # l-inf: share of the constant below which the loss counts as solved
_LARGEST_CONSTANT = 20.0
_LEAST_BOUND = 1 / 256


class _L2State(NamedTuple):
    w: tf.Tensor
    adam: Adam
    constant: tf.Tensor
    low: tf.Tensor  # largest constant that failed
    high: tf.Tensor  # least constant that succeeded; infinite before
    constants: tf.Tensor  # int32[B], how many are used up
    succeeded: tf.Tensor  # with this constant
    checked: tf.Tensor  # loss at the last check for progress
    x_best: tf.Tensor
    distance: tf.Tensor  # of x_best, squared; infinite before the first success
    done: tf.Tensor

    @property
    def broken(self) -> tf.Tensor:
        return self.distance < float("inf")


def carlini_wagner_l2(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    num_steps: int = 1000,
    learning_rate: float = 0.01,
    constant: float = 1e-3,
    search_steps: int = 9,
    confidence: float = 0.0,
    targets: Labels | None = None,
    targeted: bool = True,
) -> Found:
    """Near adversarial images in l2, without a bound: sec. VI-A of Carlini & Wagner.

    Minimises |x_adv - x|^2 + c max(margin + confidence, 0) by Adam and searches c for each image: ten times larger
    until a success, then by bisection.

    `search_steps=1, constant=0.2` is the fixed-c form of some tables. It is no measure of robustness: where c is too
    small for the net's logits the image keeps its label although an adversarial one lies near.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: not used; nothing is random.
      num_steps: Adam steps for each constant; a constant ends early where the loss stops falling.
      learning_rate: Adam's.
      constant: the first c.
      search_steps: constants tried.
      confidence: kappa, margin in logits that a success needs.
      targets: int[B], the class to reach; without, any class but the label.
      targeted: only the target counts as success.

    Returns:
      found: x_adv is the nearest success, at any distance.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, or a setting that is not positive.
    """
    if min(num_steps, search_steps) < 1 or min(learning_rate, constant) <= 0 or confidence < 0:
        raise ValueError(
            "expected num_steps, search_steps >= 1, learning_rate, constant > 0 and confidence >= 0, received "
            f"{num_steps}, {search_steps}, {learning_rate}, {constant}, {confidence}"
        )
    step = functools.partial(
        _step_l2,
        loss=losses.margin if targets is None else losses.target_lead,
        num_steps=num_steps,
        learning_rate=learning_rate,
        search_steps=search_steps,
        confidence=confidence,
    )
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=functools.partial(_begin_l2, constant=constant),
        step=step,
        num_steps=num_steps * search_steps,
        begin_cost=Cost(forwards=0, gradients=0),
        step_cost=Cost(forwards=0, gradients=1),
        targets=targets,
        targeted=targeted and targets is not None,
    )


def _begin_l2(oracle: Oracle, rows: Rows, *, constant: float) -> _L2State:
    del oracle
    ones = tf.ones_like(rows.labels, tf.float32)
    infinite = float("inf") * ones
    never = tf.zeros_like(rows.labels, tf.bool)
    return _L2State(
        w=inverse(rows.x),
        adam=Adam.new(rows),
        constant=constant * ones,
        low=0 * ones,
        high=infinite,
        constants=tf.zeros_like(rows.labels),
        succeeded=never,
        checked=infinite,
        x_best=rows.x,
        distance=infinite,
        done=never,
    )


def _step_l2(
    oracle: Oracle,
    rows: Rows,
    state: _L2State,
    i: tf.Tensor,
    seed: Seed,
    *,
    loss: LogitsLoss,
    num_steps: int,
    learning_rate: float,
    search_steps: int,
    confidence: float,
) -> _L2State:
    del i, seed
    x_adv, slope = image(state.w)
    look = oracle.look(loss, x_adv, rows)
    offset = x_adv - rows.x
    distance = tf.reduce_sum(tf.square(offset), axis=(1, 2, 3))
    lacking = confidence - look.loss
    total = distance + state.constant * tf.nn.relu(lacking)
    pull = tf.where(lacking > 0, state.constant, 0.0)
    adam, move = state.adam.update(slope * (2 * offset - each(pull) * look.gradient), learning_rate)

    # lacking <= 0 is the goal with confidence; with confidence 0 a tie has to be a success by argmax too.
    success = look.reached & (lacking <= 0) & ~state.done
    nearer = success & (distance < state.distance)
    succeeded = state.succeeded | success
    check = adam.steps % max(num_steps // _CHECKS, 1) == 0
    ended = (adam.steps >= num_steps) | (check & (total > _NO_PROGRESS * state.checked))

    high = tf.where(ended & succeeded, tf.minimum(state.high, state.constant), state.high)
    low = tf.where(ended & ~succeeded, tf.maximum(state.low, state.constant), state.low)
    following = tf.where(high < float("inf"), (low + high) / 2, 10 * state.constant)
    constants = state.constants + tf.cast(ended, tf.int32)
    return _L2State(
        w=select_rows(ended, inverse(rows.x), state.w + move),
        adam=adam.restarted(ended),
        constant=tf.where(ended, following, state.constant),
        low=low,
        high=high,
        constants=constants,
        succeeded=succeeded & ~ended,
        checked=tf.where(ended, float("inf"), tf.where(check, total, state.checked)),
        x_best=select_rows(nearer, x_adv, state.x_best),
        distance=tf.where(nearer, distance, state.distance),
        done=state.done | (constants >= search_steps),
    )


class _LinfState(NamedTuple):
    w: tf.Tensor
    adam: Adam
    constant: tf.Tensor
    bound: tf.Tensor  # tau: pixels may move so far free of charge
    checked: tf.Tensor  # loss at the last check for progress
    x_best: tf.Tensor
    distance: tf.Tensor  # of x_best; infinite before the first success
    done: tf.Tensor

    @property
    def broken(self) -> tf.Tensor:
        return self.distance < float("inf")


def carlini_wagner_linf(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    epsilon: float = 0.0,
    num_steps: int = 1000,
    max_gradients: int = 10_000,
    learning_rate: float = 0.005,
    constant: float = 1e-5,
    targets: Labels | None = None,
    targeted: bool = True,
) -> Found:
    """Near adversarial images in l-inf: sec. VI-C of Carlini & Wagner.

    Minimises c max(margin, 0) + sum_i max(|x_adv - x|_i - tau, 0) by Adam. A success lowers tau to 0.9 of what was
    needed; a failure, or a loss that stops falling, doubles c. An image is done at tau of 1/256, c of 20, or once it is
    within epsilon.

    What robustness tables call C&W l-inf is mostly another attack: `pgd_search` with `losses.margin`.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: not used; nothing is random.
      epsilon: distance that is near enough to stop; 0 never stops early.
      num_steps: Adam steps for each tau and c.
      max_gradients: Adam steps in all.
      learning_rate: Adam's.
      constant: the first c.
      targets: int[B], the class to reach; without, any class but the label.
      targeted: only the target counts as success.

    Returns:
      found: x_adv is the nearest success, at any distance.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, or a setting that is not positive.
    """
    if min(num_steps, max_gradients) < 1 or min(learning_rate, constant) <= 0 or epsilon < 0:
        raise ValueError(
            "expected num_steps, max_gradients >= 1, learning_rate, constant > 0 and epsilon >= 0, received "
            f"{num_steps}, {max_gradients}, {learning_rate}, {constant}, {epsilon}"
        )
    step = functools.partial(
        _step_linf,
        loss=losses.margin if targets is None else losses.target_lead,
        epsilon=epsilon,
        num_steps=num_steps,
        learning_rate=learning_rate,
    )
    return search(
        net,
        x,
        labels,
        seed=seed,
        begin=functools.partial(_begin_linf, constant=constant),
        step=step,
        num_steps=max_gradients,
        begin_cost=Cost(forwards=0, gradients=0),
        step_cost=Cost(forwards=0, gradients=1),
        targets=targets,
        targeted=targeted and targets is not None,
    )


def _begin_linf(oracle: Oracle, rows: Rows, *, constant: float) -> _LinfState:
    del oracle
    ones = tf.ones_like(rows.labels, tf.float32)
    return _LinfState(
        w=inverse(rows.x),
        adam=Adam.new(rows),
        constant=constant * ones,
        bound=ones,
        checked=float("inf") * ones,
        x_best=rows.x,
        distance=float("inf") * ones,
        done=tf.zeros_like(rows.labels, tf.bool),
    )


def _step_linf(
    oracle: Oracle,
    rows: Rows,
    state: _LinfState,
    i: tf.Tensor,
    seed: Seed,
    *,
    loss: LogitsLoss,
    epsilon: float,
    num_steps: int,
    learning_rate: float,
) -> _LinfState:
    del i, seed
    x_adv, slope = image(state.w)
    look = oracle.look(loss, x_adv, rows)
    offset = x_adv - rows.x
    distance = tf.reduce_max(tf.abs(offset), axis=(1, 2, 3))
    excess = tf.nn.relu(tf.abs(offset) - each(state.bound))
    total = state.constant * tf.nn.relu(-look.loss) + tf.reduce_sum(excess, axis=(1, 2, 3))
    pull = tf.where(look.loss < 0, state.constant, 0.0)
    gradient = tf.sign(offset) * tf.sign(excess) - each(pull) * look.gradient
    adam, move = state.adam.update(slope * gradient, learning_rate)

    solved = look.reached & (total < _SOLVED * state.constant)
    check = adam.steps % max(num_steps // _CHECKS, 1) == 0
    failed = ~solved & ((adam.steps >= num_steps) | (check & (total > _NO_PROGRESS * state.checked)))
    ended = solved | failed
    nearer = look.reached & (distance < state.distance) & ~state.done
    x_best = select_rows(nearer, x_adv, state.x_best)
    best = tf.where(nearer, distance, state.distance)
    bound = tf.where(solved, 0.9 * tf.minimum(state.bound, distance), state.bound)
    constant = tf.where(failed, 2 * state.constant, state.constant)
    # From the nearest success on; x itself before there is one.
    return _LinfState(
        w=select_rows(ended, inverse(x_best), state.w + move),
        adam=adam.restarted(ended),
        constant=constant,
        bound=bound,
        checked=tf.where(ended, float("inf"), tf.where(check, total, state.checked)),
        x_best=x_best,
        distance=best,
        done=state.done | (bound <= _LEAST_BOUND) | (constant > _LARGEST_CONSTANT) | (best <= epsilon),
    )
