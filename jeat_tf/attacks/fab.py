"""FAB: a search for the nearest adversarial image (Croce & Hein, 2020, https://arxiv.org/abs/1907.02044)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.oracle import Look, Oracle, Rows, as_oracle, select_rows
from jeat_tf.attacks.search import Cost, Found, search
from jeat_tf.core.balls import Ball
from jeat_tf.core.l1 import onto_plane
from jeat_tf.core.loops import advance
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

_OVERSHOOT = 1.05  # eta
_MOST_BIAS = 0.1  # alpha_max: weight of the step that starts at x itself
_BACKWARD = 0.9  # beta: where to continue between x and an adversarial point
_TINY = 1e-12
# (steps, factor): an image whose nearest success is beyond factor * epsilon after so many steps is given up. The
# distance after 10, 20 and 50 steps was at most 1.42, 1.13 and 1.06 times that after 100 (benchmarks/README.md).
_HOPELESS = ((10, 2.0), (20, 1.5), (50, 1.2))
_NEWTON_STEPS = 6


class _State(NamedTuple):
    x_adv: tf.Tensor
    x_best: tf.Tensor
    distance: tf.Tensor  # of x_best; infinite before the first success
    settled: tf.Tensor  # bool: whether x_best ends within epsilon is settled

    @property
    def broken(self) -> tf.Tensor:
        return self.distance < float("inf")

    @property
    def done(self) -> tf.Tensor:
        return self.settled


def fab(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    ball: Ball,
    num_steps: int = 100,
    random_start: bool = False,
    verdict_only: bool = True,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """One run of FAB (Algorithm 1 of Croce & Hein, 2020), or with targets of FAB-T.

    Each step projects on the linearised decision boundary, from the iterate and from x, inside [0, 1]; of the
    boundaries to all classes the nearest, or that to the target. A success is pulled back towards x.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: int32[2], used by a random start.
      ball: the norm that is kept small, and the epsilon of the two arguments below.
      num_steps: projections. Each costs one forward pass and one gradient; without targets K - 1 gradients.
      random_start: begin at distance epsilon / 2 from x and not at x.
      verdict_only: an image is done once its adversarial image is within epsilon, or so far outside that the remaining
        steps will not bring it in. False keeps bringing it nearer.
      targets: int[B], the one class whose boundary is used.
      targeted: only the target counts as success; else any class but the label.

    Returns:
      found: x_adv is the nearest success, wherever it lies; compare its distance with epsilon.

    Raises:
      ValueError: images outside [0, 1], bad labels or targets, or num_steps < 1.
    """
    if num_steps < 1:
        raise ValueError(f"expected num_steps >= 1, received {num_steps}")
    oracle = as_oracle(net)
    boundary = _nearest if targets is None else _toward_target
    return search(
        oracle,
        x,
        labels,
        seed=seed,
        begin=functools.partial(_begin, ball=ball, random_start=random_start),
        step=functools.partial(_step, ball=ball, boundary=boundary, verdict_only=verdict_only),
        num_steps=num_steps,
        begin_cost=Cost(forwards=0, gradients=0),
        step_cost=Cost(forwards=1, gradients=1 if targets is not None else oracle.num_classes(x) - 1),
        targets=targets,
        targeted=targeted,
    )


def _begin(oracle: Oracle, rows: Rows, *, ball: Ball, random_start: bool) -> _State:
    del oracle
    x_adv = rows.x
    if random_start:
        x_adv = tf.clip_by_value(rows.x + ball.epsilon / 2 * rows.draw(ball.random_direction), 0.0, 1.0)
    return _State(
        x_adv=x_adv,
        x_best=rows.x,
        distance=tf.fill(tf.shape(rows.labels), float("inf")),
        settled=tf.zeros_like(rows.labels, tf.bool),
    )


def _step(
    oracle: Oracle,
    rows: Rows,
    state: _State,
    i: tf.Tensor,
    seed: Seed,
    *,
    ball: Ball,
    boundary: Callable[[Oracle, Images, Rows, Ball], Look],
    verdict_only: bool,
) -> _State:
    del seed
    look = boundary(oracle, state.x_adv, rows, ball)
    slope = look.gradient
    # The boundary is where loss + <slope, z - x_adv> = 0.
    offset = _inner(slope, state.x_adv) - look.loss
    move = _onto_hyperplane(state.x_adv, slope, offset, ball)
    move_from_x = _onto_hyperplane(rows.x, slope, offset, ball)
    length = tf.maximum(ball.distance(move, tf.zeros_like(move)), 1e-8)
    length_from_x = tf.maximum(ball.distance(move_from_x, tf.zeros_like(move)), 1e-8)
    bias = tf.minimum(length / (length + length_from_x), _MOST_BIAS)[:, None, None, None]
    x_adv = tf.clip_by_value(
        (1 - bias) * (state.x_adv + _OVERSHOOT * move) + bias * (rows.x + _OVERSHOOT * move_from_x), 0.0, 1.0
    )
    reached = rows.reached(oracle.logits(x_adv))
    distance = ball.distance(x_adv, rows.x)
    nearer = reached & (distance < state.distance) & ~state.settled
    distance = tf.where(nearer, distance, state.distance)
    return _State(
        x_adv=select_rows(reached, rows.x + _BACKWARD * (x_adv - rows.x), x_adv),
        x_best=select_rows(nearer, x_adv, state.x_best),
        distance=distance,
        settled=state.settled | _settled(distance, i, ball) if verdict_only else state.settled,
    )


def _settled(distance: tf.Tensor, i: tf.Tensor, ball: Ball) -> tf.Tensor:
    if ball.norm == "l1":  # its distances fall late, so that none is given up
        return distance <= ball.epsilon
    factors = [tf.where(i + 1 >= steps, factor, float("inf")) for steps, factor in _HOPELESS]
    hopeless = (distance > tf.reduce_min(factors) * ball.epsilon) & (distance < float("inf"))
    return (distance <= ball.epsilon) | hopeless


def _toward_target(oracle: Oracle, x_adv: Images, rows: Rows, ball: Ball) -> Look:
    del ball
    return oracle.look(losses.targeted_margin, x_adv, rows)


def _nearest(oracle: Oracle, x_adv: Images, rows: Rows, ball: Ball) -> Look:
    """Of the boundaries to all other classes the one that is nearest where the net is linear."""

    def toward(step: tf.Tensor) -> tuple[Look, tf.Tensor]:
        # The classes after the label, in a ring: every other class once.
        targets = tf.math.floormod(rows.labels + step, oracle.num_classes(rows.x))
        look = oracle.look(losses.targeted_margin, x_adv, rows._replace(targets=targets))
        return look, tf.abs(look.loss) / (_TINY + _dual_norm(look.gradient, ball))

    def compare(best: tuple[Look, tf.Tensor], step: tf.Tensor) -> tuple[Look, tf.Tensor]:
        look, distance = toward(step)
        nearer = distance < best[1]
        chosen = Look(
            reached=tf.where(nearer, look.reached, best[0].reached),
            loss=tf.where(nearer, look.loss, best[0].loss),
            gradient=select_rows(nearer, look.gradient, best[0].gradient),
        )
        return chosen, tf.minimum(distance, best[1])

    return advance(compare, toward(tf.constant(1)), 2, oracle.num_classes(rows.x))[0]


def _onto_hyperplane(x: Images, slope: tf.Tensor, offset: tf.Tensor, ball: Ball) -> tf.Tensor:
    """The shortest move of x, in the ball's norm, onto {z in [0, 1]: <slope, z> = offset}; onto the nearest corner
    where the plane misses the box.

    Entry j moves by min(scale * speed_j, room_j) in the direction that helps, speed_j being 1 for l-inf and
    |slope_j| for l2, where room_j is the way to the end of [0, 1]. The gain is concave and piecewise linear in the
    scale, and Newton's steps from the left climb to the root; no sorting of entries.
    """
    if ball.norm == "l1":
        return onto_plane(x, slope, offset)
    missing = _inner(slope, x) - offset  # > 0: <slope, z> has to fall
    direction = -tf.sign(missing)[:, None, None, None] * tf.sign(slope)
    weight = tf.abs(slope)
    room = x + tf.nn.relu(direction) * (1.0 - 2.0 * x)
    speed = tf.ones_like(weight) if ball.norm == "linf" else weight
    gain, most_gain = weight * speed, weight * room
    needed = tf.abs(missing)[:, None, None, None]
    scale = needed / tf.maximum(_total(gain), _TINY)
    for _ in range(_NEWTON_STEPS):
        free = tf.cast(scale * gain < most_gain, tf.float32)
        lacking = needed - _total(tf.minimum(scale * gain, most_gain))
        rate = _total(gain * free)
        # No entry left to move: the plane misses the box, and a scale above all rooms says so.
        scale = tf.where(rate > 0, scale + tf.maximum(lacking, 0.0) / tf.maximum(rate, _TINY), 1 / _TINY)
    return direction * tf.minimum(scale * speed, room)


def _total(entries: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(entries, axis=(1, 2, 3), keepdims=True)


def _inner(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b, axis=(1, 2, 3))


def _dual_norm(slope: tf.Tensor, ball: Ball) -> tf.Tensor:
    if ball.norm == "linf":
        return tf.reduce_sum(tf.abs(slope), axis=(1, 2, 3))
    if ball.norm == "l1":
        return tf.reduce_max(tf.abs(slope), axis=(1, 2, 3))
    return tf.sqrt(tf.reduce_sum(tf.square(slope), axis=(1, 2, 3)))
