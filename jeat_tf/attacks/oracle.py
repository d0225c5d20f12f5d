"""A net as an attack sees it: logits, gradients with respect to images, and compiled steps."""

import functools
import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.core.logits import check_callable, check_logits, check_output, in_one_line
from jeat_tf.core.loops import advance
from jeat_tf.core.seeds import draw_each
from jeat_tf.core.types import Images, Labels, LogitsFn, Seed

LogitsLoss = Callable[[tf.Tensor, Labels, Labels], tf.Tensor]
"""(logits float32[B, K], labels, targets) -> loss float32[B]; see `losses`."""

_LOOKED_AT = 32  # images whose outputs show whether they are logits
_NEAR_BOUNDARY = 0.05  # of the largest logit: many times the 2^-8 that bfloat16 rounds by


class Rows(NamedTuple):
    """The images that a search works on.

    Attributes:
      x: float32[B, H, W, C].
      labels: int32[B].
      targets: int32[B], classes that targeted losses pull to; -1 without.
      goals: int32[B], the class that alone counts as success; -1 where any class but the label does.
      seeds: int32[B, 2].
    """

    x: Images
    labels: tf.Tensor
    targets: tf.Tensor
    goals: tf.Tensor
    seeds: tf.Tensor

    def reached(self, logits: tf.Tensor) -> tf.Tensor:
        """bool[B], whether the prediction is what the search is after."""
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
        return tf.where(self.goals < 0, predicted != self.labels, predicted == self.goals)

    def draw(self, fn: Callable[[tuple[int, ...], Seed], tf.Tensor]) -> tf.Tensor:
        """fn(shape of an image, seed), drawn for each image from its own seed."""
        return draw_each(functools.partial(fn, tuple(self.x.shape[1:])), self.seeds)


class Look(NamedTuple):
    """The net at some images: whether the goal is reached, the loss float32[B], its gradient like x."""

    reached: tf.Tensor
    loss: tf.Tensor
    gradient: tf.Tensor


class Oracle:
    """A net as an attack sees it.

    Wrap a net once and hand the oracle to several attacks: each attack is then traced once.

    Args:
      logits_fn: images float32[B, H, W, C] in [0, 1] -> logits [B, K].
      coarse_fn: the same net in bfloat16 (`models.in_bfloat16`), used for gradients; success is decided by `logits_fn`
        all the same, on those images that the coarse logits put near the boundary. None: `logits_fn` gives the
        gradients.
      samples: forward passes that are averaged, for a net with random output (expectation over transformation,
        Athalye et al., 2018, https://arxiv.org/abs/1802.00420).
      jit_compile: compile with XLA. Worth it on a GPU; on a CPU its convolutions are many times slower.

    Raises:
      ValueError: samples < 1, or both samples and coarse_fn.
    """

    def __init__(
        self, logits_fn: LogitsFn, *, coarse_fn: LogitsFn | None = None, samples: int = 1, jit_compile: bool = False
    ):
        if samples < 1:
            raise ValueError(f"expected samples >= 1, received {samples}")
        check_callable(logits_fn)
        if samples > 1 and coarse_fn is not None:
            raise ValueError("expected samples = 1 with a coarse_fn: a random net is averaged in full precision")
        self.logits_fn = logits_fn
        self.coarse_fn = coarse_fn
        self.samples = samples
        self.jit_compile = jit_compile
        self._compiled: dict[Hashable, Callable] = {}
        self._num_classes = 0

    def num_classes(self, x: Images) -> int:
        """K, from one pass of the first images of x, which also checks that the net gives logits.

        Raises:
          ValueError: outputs that are not logits.
        """
        if not self._num_classes:
            self.learn(self.compiled(self.logits, "logits")(tf.cast(x[:_LOOKED_AT], tf.float32)).numpy())
        return self._num_classes

    def learn(self, logits: np.ndarray) -> None:
        """Takes K from logits that the net gave for clean images, which saves a pass.

        Raises:
          ValueError: outputs that are not logits.
        """
        check_logits(logits)
        self._num_classes = logits.shape[-1]

    def logits(self, x: Images) -> tf.Tensor:
        """float32[B, K], the mean over `samples` passes."""
        return self._mean(lambda: self._forward(x))

    def look(self, loss: LogitsLoss, x: Images, rows: Rows) -> Look:
        """Loss and gradient at x, and whether x reaches the goal."""
        if self.coarse_fn is None:
            logits, value, gradient = self._mean(lambda: self._gradient(self._forward, loss, x, rows))
            return Look(rows.reached(logits), value, gradient)
        logits, value, gradient = self._gradient(self._coarse, loss, x, rows)
        return Look(self._confirmed(logits, x, rows), value, gradient)

    def compiled(self, fn: Callable, key: Hashable) -> Callable:
        """`fn` of tensors (nests too) as a graph function; traced once for a key, whatever the number of rows."""

        def call(*args: Any) -> Any:
            if key not in self._compiled:
                self._compiled[key] = tf.function(
                    fn,
                    input_signature=tf.nest.map_structure(_any_rows, args),
                    autograph=False,
                    jit_compile=self.jit_compile,
                )
            return self._compiled[key](*args)

        return call

    def _forward(self, x: Images) -> tf.Tensor:
        try:
            outputs = self.logits_fn(x)
        except Exception as error:
            if isinstance(error, ValueError) and "\n" not in str(error):
                raise
            raise ValueError(
                f"expected a net of images {list(x.shape)} that runs in a graph of TensorFlow, received one that does "
                f"not: {in_one_line(error)}; pass a Keras model itself, or a function of tensors"
            ) from error
        check_output(outputs)
        if isinstance(outputs, np.ndarray):
            raise ValueError(
                "expected logits as a tensor, received a NumPy array; make them by TensorFlow's operations"
            )
        return tf.cast(outputs, tf.float32)

    def _coarse(self, x: Images) -> tf.Tensor:
        assert self.coarse_fn is not None
        return tf.cast(self.coarse_fn(x), tf.float32)

    @staticmethod
    def _gradient(forward: LogitsFn, loss: LogitsLoss, x: Images, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = forward(x)
            value = loss(logits, rows.labels, rows.targets)
        gradient = tape.gradient(value, x)
        if gradient is None:
            warnings.warn(
                "no gradient of the net reaches its images, so that attacks by gradients do nothing; attack by square, "
                "or give the layer that stops them a gradient by jt.attacks.bpda(net, ...)",
                stacklevel=2,
            )
            gradient = tf.zeros_like(x)
        return logits, value, tf.convert_to_tensor(gradient)  # a net that gathers rows gives sparse IndexedSlices

    def _mean(self, draw: Callable[[], Any]) -> Any:
        """The mean of `samples` draws of a nest of tensors."""
        if self.samples == 1:
            return draw()
        total = advance(lambda total, i: tf.nest.map_structure(tf.add, total, draw()), draw(), 1, self.samples)
        return tf.nest.map_structure(lambda t: t / self.samples, total)

    def _confirmed(self, coarse: tf.Tensor, x: Images, rows: Rows) -> tf.Tensor:
        """Success by full-precision logits, which are computed where coarse logits cannot exclude it."""
        if self.jit_compile:  # XLA has no shapes that depend on values
            return rows.reached(self._forward(x))
        top = tf.math.top_k(coarse, 2).values
        near = top[:, 0] - top[:, 1] <= _NEAR_BOUNDARY * tf.reduce_max(tf.abs(coarse), axis=-1)
        where = tf.where(near | rows.reached(coarse))
        chosen = tf.nest.map_structure(lambda t: tf.gather_nd(t, where), rows)

        def confirm() -> tf.Tensor:
            reached = chosen.reached(self._forward(tf.gather_nd(x, where)))
            return tf.scatter_nd(where, tf.cast(reached, tf.int32), tf.shape(near, out_type=tf.int64)) > 0

        return tf.cond(tf.size(where) > 0, confirm, lambda: tf.zeros_like(near))


def select_rows(chosen: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The rows of a where bool[B] is true, else those of b; many times faster on a CPU than a broadcast `tf.where`."""
    return tf.compat.v1.where(chosen, a, b)


def as_oracle(net: LogitsFn | Oracle) -> Oracle:
    """The oracle itself, or a new one for a net."""
    return net if isinstance(net, Oracle) else Oracle(net)


def _any_rows(tensor: tf.Tensor) -> tf.TensorSpec:
    tensor = tf.convert_to_tensor(tensor)
    return tf.TensorSpec(tensor.shape if tensor.shape.rank == 0 else [None, *tensor.shape[1:]], tensor.dtype)
