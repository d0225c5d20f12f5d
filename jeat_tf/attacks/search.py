"""The frame of every search: a step on a batch of images, repeated on those still unbroken.

Images that are done leave the batch while the search runs. The batch shrinks along a ladder of sizes, so that a kernel
sees few shapes and XLA compiles few programs.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.oracle import LogitsLoss, Oracle, Rows, as_oracle
from jeat_tf.core.checks import admit, admit_images, admit_labels
from jeat_tf.core.loops import advance
from jeat_tf.core.seeds import fold_in, per_image
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed


class Found(NamedTuple):
    """What a search found, one entry for each image.

    Attributes:
      x_adv: float32[B, H, W, C]; the adversarial image, or the best attempt.
      broken: bool[B]; the float32 logits of x_adv itself are not those of the label (targeted: are those of the
        target).
      predicted: int32[B], the class of x_adv by these logits where it is broken; the label elsewhere.
      forwards, gradients: int32[B], passes of this image through the net, forwards without those of the gradients. With
        a coarse net for gradients, these are passes of that net: its checks by the other one are not counted.
    """

    x_adv: np.ndarray
    broken: np.ndarray
    predicted: np.ndarray
    forwards: np.ndarray
    gradients: np.ndarray


class Search(Protocol):
    """Looks for an adversarial image of each x, e.g. `functools.partial(apgd, ball=Linf(8 / 255))`."""

    def __call__(
        self, net: LogitsFn | Oracle, x: Images, labels: Labels, *, seed: Seed, targets: Labels | None = None
    ) -> Found: ...


class Cost(NamedTuple):
    """Passes of one image through the net, for `samples` of 1."""

    forwards: int
    gradients: int


class State(Protocol):
    """What a step carries: a nest of tensors with one row for each image, with at least these."""

    @property
    def x_best(self) -> tf.Tensor:
        """The answer so far."""

    @property
    def broken(self) -> tf.Tensor:
        """bool[B], x_best reaches the goal."""

    @property
    def done(self) -> tf.Tensor:
        """bool[B], nothing is left to do."""


def search(
    net: LogitsFn | Oracle,
    x: Images,
    labels: Labels,
    *,
    seed: Seed,
    begin: Callable[[Oracle, Rows], State],
    step: Callable[[Oracle, Rows, Any, tf.Tensor, Seed], Any],
    num_steps: int,
    begin_cost: Cost,
    step_cost: Cost,
    targets: Labels | None = None,
    targeted: bool = False,
) -> Found:
    """Runs step(oracle, rows, state, i, seed_i) for i = 0 .. num_steps - 1, dropping images that are done.

    Args:
      net: images -> logits, or an oracle.
      x: float32[B, H, W, C] in [0, 1].
      labels: int[B].
      seed: int32[2]; an image's own seed is made of this and of its content.
      begin, step: graph functions; a `functools.partial` of a module's function, so that equal ones share a trace.
      targets: int[B], classes to pull to.
      targeted: only the target counts as success.

    Raises:
      ValueError: images outside [0, 1], bad labels, or targets that are missing or equal the label.
    """
    oracle = as_oracle(net)
    rows = _rows(oracle, x, labels, seed, targets, targeted)
    state = oracle.compiled(functools.partial(begin, oracle), _key(begin))(rows)

    def steps(rows: Rows, state: Any, start: tf.Tensor, stop: tf.Tensor, *seed: tf.Tensor) -> Any:
        return advance(lambda state, i: step(oracle, rows, state, i, fold_in(tf.stack(seed), i)), state, start, stop)

    run = oracle.compiled(steps, _key(step))
    x_best, claimed = np.array(state.x_best), np.zeros(len(x), bool)
    steps_run = np.zeros(len(x), np.int32)
    index = np.arange(len(x))  # of the rows at hand; a row that left has its answer in x_best
    for start, stop in _looks(num_steps):
        standing = np.flatnonzero(~state.done.numpy())
        if not len(standing):
            break
        size = _bucket(len(standing))
        if size < len(index):
            kept = np.concatenate([standing, np.setdiff1d(np.arange(len(index)), standing)[: size - len(standing)]])
            x_best[index], claimed[index] = state.x_best.numpy(), state.broken.numpy()
            index = index[kept]
            rows, state = tf.nest.map_structure(functools.partial(tf.gather, indices=kept), (rows, state))
        state = run(rows, state, tf.constant(start), tf.constant(stop), *tf.unstack(tf.cast(seed, tf.int32)))
        steps_run[index] += stop - start
    x_best[index], claimed[index] = state.x_best.numpy(), state.broken.numpy()
    forwards = begin_cost.forwards + step_cost.forwards * steps_run + claimed  # a claim takes a pass to confirm
    broken, predicted = _confirmed(oracle, x_best, claimed, labels, targets if targeted else None)
    return Found(
        x_adv=x_best,
        broken=broken,
        predicted=predicted,
        forwards=oracle.samples * forwards,
        gradients=oracle.samples * (begin_cost.gradients + step_cost.gradients * steps_run),
    )


def predictions(net: LogitsFn | Oracle, x: Images) -> np.ndarray:
    """Logits float32[B, K] of a batch, by the same compiled function that decides every success."""
    oracle = as_oracle(net)
    return oracle.compiled(oracle.logits, "logits")(tf.cast(x, tf.float32)).numpy()


def gradients(
    oracle: Oracle, loss: LogitsLoss, x: np.ndarray, labels: np.ndarray, targets: np.ndarray | None = None
) -> np.ndarray:
    """float32, like x: the gradient of each image's loss."""
    none = tf.fill([len(x)], -1)
    rows = Rows(
        x=tf.constant(x),
        labels=tf.constant(labels, tf.int32),
        targets=none if targets is None else tf.constant(targets, tf.int32),
        goals=none,
        seeds=tf.zeros([len(x), 2], tf.int32),
    )
    return oracle.compiled(lambda rows: oracle.look(loss, rows.x, rows).gradient, ("gradient", loss))(rows).numpy()


def _confirmed(
    oracle: Oracle, x_adv: np.ndarray, claimed: np.ndarray, labels: Labels, goals: Labels | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which claims hold for the final images, in float32, and the classes of those."""
    broken, classes = np.zeros(len(x_adv), bool), np.array(labels, np.int32)
    where = np.flatnonzero(claimed)
    if len(where):
        # Of a size on the ladder: the first claim is repeated to fill it.
        filled = np.concatenate([where, np.full(_bucket(len(where)) - len(where), where[0])])
        predicted = predictions(oracle, x_adv[filled]).argmax(axis=-1)[: len(where)]
        labels = np.asarray(labels)[where]
        broken[where] = predicted != labels if goals is None else predicted == np.asarray(goals)[where]
        classes[where] = np.where(broken[where], predicted, labels)
    return broken, classes


def _rows(oracle: Oracle, x: Images, labels: Labels, seed: Seed, targets: Labels | None, targeted: bool) -> Rows:
    x = admit_images(x)
    x, labels = admit(x, labels, oracle.num_classes(x))
    none = np.full(len(labels), -1)
    if targets is None and targeted:
        raise ValueError("expected targets with targeted=True, received none")
    if targets is not None:
        targets = admit_labels(targets, oracle.num_classes(x))
        if targets.shape != labels.shape or (targets == labels).any():
            raise ValueError("expected one target for each image, of another class than its label")
    return Rows(
        x=tf.constant(x),
        labels=tf.constant(labels),
        targets=tf.constant(none if targets is None else targets, tf.int32),
        goals=tf.constant(targets if targeted else none, tf.int32),
        seeds=tf.constant(per_image(seed, x)),
    )


def _looks(num_steps: int) -> Iterator[tuple[int, int]]:
    """Stretches between two looks at who is done: short at first, when most images fall."""
    start = 0
    while start < num_steps:
        stop = min(start + 1 + start // 4, num_steps)
        yield start, stop
        start = stop


def _bucket(count: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ... that is not below count."""
    power = 1 << max(count - 1, 0).bit_length()
    return 3 * power // 4 if power >= 4 and count <= 3 * power // 4 else power


def _key(fn: Any) -> Any:
    """Equal for partials of the same function with the same arguments."""
    if isinstance(fn, functools.partial):
        return fn.func, fn.args, tuple(sorted(fn.keywords.items()))
    return fn
