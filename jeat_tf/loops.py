"""The gradient with respect to images, and the one graph loop of the package."""

from collections.abc import Callable

import tensorflow as tf

from jeat_tf.seeds import fold_in
from jeat_tf.types import Images, LossFn, Seed


def input_gradient(fn: LossFn, x: Images) -> tf.Tensor:
    """Gradient float32, like x, of each image's own value: d fn(x)[b] / d x[b].

    Weights are not watched, so no work goes into their gradients. An `fn` through which no gradient flows
    (rounding, argmax) gives zeros.
    """
    x = tf.convert_to_tensor(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        total = tf.reduce_sum(fn(x))
    return tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def repeat(step: Callable[[tf.Tensor, Seed], tf.Tensor], x: tf.Tensor, *, seed: Seed, num_steps: int) -> tf.Tensor:
    """x after `num_steps` times x = step(x, seed_i), as one graph loop; no gradient flows through the result.

    A `tf.while_loop` because Keras traces `train_step` without autograph, and because unrolling a chain costs
    many times more to trace than to run.
    """

    def body(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return i + 1, step(x, fold_in(seed, i))

    _, x = tf.while_loop(
        cond=lambda i, x: i < num_steps,
        body=body,
        loop_vars=(tf.constant(0), x),
        maximum_iterations=num_steps,
    )
    return tf.stop_gradient(x)
