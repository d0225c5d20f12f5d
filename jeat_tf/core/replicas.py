"""Training on several devices: what a step has to know of `tf.distribute`.

Each replica works on its part of the batch. Gradients are means over replicas, as in Keras' own `fit`. What belongs to
images or chains, such as the replay buffer, is divided by rows: replica r of n reads and writes rows r * size / n to
(r + 1) * size / n of its own copy, and `rows_gatherer` makes one whole of the parts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


def check_scope(net: Any) -> None:
    """Raises ValueError where a strategy is in scope and the weights of a net were made outside of it."""
    if not tf.distribute.has_strategy():
        return
    extended = tf.distribute.get_strategy().extended
    if not all(extended.variable_created_in_scope(weight.value) for weight in net.weights):
        raise ValueError(
            "expected a net that was built inside strategy.scope(), received one that was built outside; build the net "
            "inside the scope"
        )


class Replica(NamedTuple):
    """One of the devices that work on a batch together.

    Attributes:
      index: int or int32[], from 0.
      number: how many there are.
    """

    index: Any
    number: int

    def rows(self, size: int, what: str) -> tuple[Any, int]:
        """(first row, number of rows) of this replica's part of `size` rows.

        Raises:
          ValueError: the rows cannot be divided equally.
        """
        if size % self.number:
            raise ValueError(f"expected {what} divisible by {self.number} devices, received {size}")
        part = size // self.number
        return self.index * part, part


def this_replica() -> Replica:
    """The replica whose step is being run or traced; the only one outside `tf.distribute`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return Replica(0, 1)
    return Replica(context.replica_id_in_sync_group, context.num_replicas_in_sync)


def in_cluster(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas of a strategy are in several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def as_reduced(logs: dict[str, Any]) -> dict[str, Any]:
    """The logs of a step in the shape in which Keras' `fit` takes their mean over replicas.

    Among several processes it takes it over the first axis, which a number does not have (keras#20585).
    """
    if not in_cluster(tf.distribute.get_strategy()):
        return logs
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}


def mean_over_replicas(values: Any) -> Any:
    """The mean of each tensor over all replicas; None stays None. All replicas must call it together."""
    if this_replica().number == 1:
        return values
    context = tf.distribute.get_replica_context()
    return tf.nest.map_structure(lambda x: None if x is None else context.all_reduce("MEAN", x), values)


def apply_means(optimizer: Any, gradients: list, variables: list) -> None:
    """One optimizer step by gradients that are already means over replicas.

    Keras clips on each replica and then sums over them. So the mean is clipped first, and each replica gives its share,
    which no bound changes any more. Bounds are of the gradients without the factor of loss scaling.

    Args:
      optimizer: perhaps one whose `scale_loss` has multiplied the gradients.
      gradients: one for each variable; None for one that the loss does not depend on.
      variables: of the net.
    """
    count = this_replica().number
    if count > 1:
        scale = optimizer.scale_loss(tf.constant(1.0))
        bounded = getattr(optimizer, "inner_optimizer", optimizer)
        clipped = bounded._clip_gradients([None if g is None else g / tf.cast(scale, g.dtype) for g in gradients])
        gradients = [None if g is None else g * tf.cast(scale / count, g.dtype) for g in clipped]
    optimizer.apply(gradients, variables)


def rows_gatherer(strategy: tf.distribute.Strategy, variables: list) -> Callable[[], None]:
    """A function that gives every replica's copy of the variables the rows of all replicas; call it between steps.

    It is one graph, so that a state that is saved often is not traced again each time.
    """

    def own() -> list[tf.Tensor]:
        return [_own_rows(variable) for variable in variables]

    @tf.function(autograph=False)
    def whole() -> list[tf.Tensor]:
        return [strategy.reduce("SUM", rows, axis=None) for rows in strategy.run(own)]

    def gather() -> None:
        for variable, value in zip(variables, whole(), strict=True):
            variable.assign(value)

    return gather


def _own_rows(variable: Any) -> tf.Tensor:
    """The variable with zeros in the rows of other replicas."""
    size = int(variable.shape[0])
    first, number = this_replica().rows(size, "rows")
    mine = (tf.range(size) >= first) & (tf.range(size) < first + number)
    value = tf.convert_to_tensor(variable.value)
    return tf.where(tf.reshape(mine, [size] + [1] * (len(variable.shape) - 1)), value, tf.zeros_like(value))
