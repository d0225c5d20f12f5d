"""What a training step costs: passes through the net, floating point operations, memory."""

import dataclasses
import logging

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.methods.objective import Objective
from jeat_tf.methods.steps import Step


@dataclasses.dataclass(frozen=True)
class Passes:
    """Passes through the net in one training step, per image of the batch.

    Attributes:
      forward: of all kinds.
      input_backward: for gradients of images.
      weight_backward: for gradients of weights.
    """

    forward: float
    input_backward: float
    weight_backward: float


def count_passes(
    objective: Objective,
    update: Step,
    image_shape: tuple[int, int, int],
    num_classes: int,
    batch_size: int,
    *,
    separate_marginal: bool = False,
) -> Passes:
    """Exact numbers, counted in one eager update of a net of one dense layer.

    The state of chains, curriculum and update is put back afterwards. Passes of JEM++'s split chain through the first
    layer alone are not counted. Counts are of the present state: a curriculum or a guard that makes chains longer makes
    them grow.

    Args:
      objective: of a compiled classifier or on its own.
      update: how the weights move.
      image_shape: (H, W, C).
      num_classes: K.
      batch_size: B.
      separate_marginal: p(x) has a stream of images of its own.
    """
    probe = _Probe()
    # Nothing here is drawn at random or named by a global count, so that the caller's run is not changed.
    stem = keras.layers.Identity(name=getattr(getattr(objective.negatives, "sampler", None), "layer", "") or "stem")
    stem.kernel = None  # where a split chain cuts the net: the probe is behind it
    net = keras.Sequential(
        [
            keras.Input(image_shape, name="images"),
            stem,
            probe,
            keras.layers.Flatten(name="flat", dtype="float32"),
            keras.layers.Dense(num_classes, kernel_initializer="zeros", name="logits", dtype="float32"),
        ],
        name="probed",
    )
    optimizer = keras.optimizers.SGD(0.0, name="probing")
    optimizer.build(net.trainable_variables)
    images = [tf.random.stateless_uniform([batch_size, *image_shape], [0, i]) for i in range(2)]
    labels = tf.range(batch_size) % num_classes
    kept = [*_state(objective), *(update.weights if isinstance(update, keras.layers.Layer) else [])]
    before = [keras.ops.convert_to_numpy(variable) for variable in kept]
    try:
        update(net, objective, optimizer, images if separate_marginal else images[0], labels, tf.constant([0, 0]))
    finally:
        for variable, value in zip(kept, before, strict=True):
            variable.assign(value)
    return Passes(*(count / batch_size for count in (probe.forward, probe.input_backward, probe.weight_backward)))


def forward_flops(net: keras.Model) -> float:
    """Floating point operations of one forward pass of one image, a multiplication and an addition counted as two.

    By TensorFlow's profiler, which knows convolutions, matrix products, pooling and most elementwise operations.
    """
    inputs = tf.TensorSpec([1, *net.input_shape[1:]], net.inputs[0].dtype)
    graph = tf.function(lambda x: net(x, training=False), autograph=False).get_concrete_function(inputs).graph
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the profiler warns of its own use of TensorFlow 1
    try:
        return float(profiler.profile(graph, options=options.build()).total_float_ops)
    finally:
        logger.setLevel(level)


def step_flops(passes: Passes, flops: float, batch_size: int) -> float:
    """Estimate of a training step's floating point operations.

    A gradient of images is taken as one forward pass more, a gradient of weights as two: back through the net, and
    then the weights. (`Free` goes back once for both, and is overestimated by one pass.)

    Args:
      passes: of one step, per image.
      flops: of one forward pass of one image.
      batch_size: B.
    """
    return flops * batch_size * (passes.forward + passes.input_backward + 2 * passes.weight_backward)


def activation_bytes(net: keras.Model, batch_size: int) -> int:
    """Estimate of the memory that one training-mode pass keeps for its gradient: the outputs of all layers.

    A compiler that fuses or recomputes needs less; a pass that keeps more than outputs (dropout masks), or joint
    methods that run two or three at once, more.

    Args:
      net: functional or Sequential, built.
      batch_size: B.
    """
    total = 0
    for layer in net.layers:
        if isinstance(layer, keras.Model):
            total += activation_bytes(layer, batch_size)
        elif not isinstance(layer, keras.layers.InputLayer):
            for output in keras.tree.flatten(layer.output):
                total += batch_size * int(np.prod(output.shape[1:])) * tf.as_dtype(layer.compute_dtype).size
    return total


def buffer_bytes(objective: Objective) -> int:
    """Memory of the replay buffer; 0 without one."""
    buffer = objective.negatives and objective.negatives.buffer
    return sum(int(np.prod(w.shape)) * tf.as_dtype(w.dtype).size for w in buffer.weights) if buffer else 0


def _state(objective: Objective) -> list[keras.Variable]:
    if objective.negatives is None:
        return []
    held = (objective.negatives.buffer, objective.negatives.curriculum)
    return [variable for layer in held if layer is not None for variable in layer.weights]


class _Probe(keras.layers.Layer):
    """The identity, counting images that go through, and gradients of images and of a weight that come back."""

    def __init__(self) -> None:
        super().__init__(name="probe", dtype="float32")
        self.weight = self.add_weight(name="weight", shape=(), initializer="zeros")
        self.forward = self.input_backward = self.weight_backward = 0
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if not tf.executing_eagerly():
            return x + self.weight  # while the net is built

        def seen_input(upstream: tf.Tensor) -> tf.Tensor:
            self.input_backward += x.shape[0]
            return upstream

        def seen_weight(upstream: tf.Tensor) -> tf.Tensor:
            self.weight_backward += x.shape[0]
            return upstream

        self.forward += x.shape[0]
        identity = tf.custom_gradient(lambda x: (tf.identity(x), seen_input))
        weight = tf.custom_gradient(lambda w: (tf.identity(w), seen_weight))
        return identity(x) + weight(self.weight.value)
