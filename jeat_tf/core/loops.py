"""The gradient with respect to images, and the one graph loop of the package."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Images, LossFn, Seed


def input_gradient(fn: LossFn, x: Images) -> tf.Tensor:
    """Gradient float32, like x, of each image's own value: d fn(x)[b] / d x[b].

    Weights are not watched, so no work goes into their gradients. An `fn` through which no gradient flows
    (rounding, argmax) gives zeros.

    Raises:
      ValueError: `fn` does not give one number for each image, e.g. because it is a net.
    """
    x = tf.convert_to_tensor(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        total = tf.reduce_sum(one_for_each(fn(x)))
    gradient = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.convert_to_tensor(gradient)  # a net that gathers rows gives sparse IndexedSlices


def one_for_each(values: tf.Tensor) -> tf.Tensor:
    """The values themselves, a loss or an energy float[B].

    Raises:
      ValueError: they are not one number for each image, e.g. because they are a net's logits.
    """
    if values.shape.rank not in (1, None):
        raise ValueError(
            f"expected a loss or an energy of one number for each image, received shape {list(values.shape)}; for "
            "a net pass e.g. attacks.cross_entropy(net, labels), or energies of its logits"
        )
    return values


def advance(step: Callable[[Any, tf.Tensor], Any], state: Any, start: int | tf.Tensor, stop: int | tf.Tensor) -> Any:
    """The state after state = step(state, i) for i = start .. stop - 1, as one graph loop.

    A `tf.while_loop` because Keras traces `train_step` without autograph, and because unrolling a chain costs
    many times more to trace than to run. The state is a tensor or any nest of tensors.
    """
    _, state = tf.while_loop(
        cond=lambda i, state: i < stop,
        body=lambda i, state: (i + 1, step(state, i)),
        loop_vars=(tf.convert_to_tensor(start), state),
    )
    return state


def repeat(
    step: Callable[[tf.Tensor, Seed], tf.Tensor], x: tf.Tensor, *, seed: Seed, num_steps: int | tf.Tensor
) -> tf.Tensor:
    """x after `num_steps` times x = step(x, seed_i); no gradient flows through the result."""
    return tf.stop_gradient(advance(lambda x, i: step(x, fold_in(seed, i)), x, 0, num_steps))
