"""How the weights move, given an objective: what `methods.updates` describes, as functions."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.core.balls import Ball
from jeat_tf.core.replicas import apply_means, mean_over_replicas, this_replica
from jeat_tf.core.types import Batch, Images, Labels, LossOut, Seed
from jeat_tf.methods.objective import Objective

Step = Callable[[Any, Objective, keras.optimizers.Optimizer, Images, Labels, Seed], LossOut]
"""(net, objective, optimizer, x, labels, seed) -> LossOut with the term `gradient_norm` added."""


def descend(
    net: Any,
    objective: Objective,
    optimizer: keras.optimizers.Optimizer,
    x: Images,
    labels: Labels,
    seed: Seed,
) -> LossOut:
    """One optimizer step down the objective (plus the net's own regularisation losses).

    Returns:
      out: the objective's LossOut; its terms also hold `gradient_norm`, the global l2 norm of the gradient
        before any clipping by the optimizer.
    """
    batch = objective.prepare(net, x, labels, seed)
    out, gradients = _gradients(net, objective, optimizer, batch)
    apply_means(optimizer, gradients, net.trainable_variables)
    return _with_norm(out, optimizer, gradients)


def awp(gamma: float, *, from_step: int = 0) -> Step:
    """Adversarial weight perturbation (Wu et al., 2020) around any objective: AT-AWP, TRADES-AWP, JEAT-AWP.

    Each kernel w (two dimensions or more) moves to w + gamma |w| g / |g| along its gradient g of the objective; the
    gradient there is applied to w itself. The authors' code reaches the same point by one step of a proxy net, whose
    rate cancels. Two gradients a step; attacks and chains run once, at w.

    Args:
      gamma: relative size of the perturbation (AT 0.01, TRADES 0.005); 0 is `descend`.
      from_step: optimizer steps before it begins (TRADES-AWP: 10 epochs).
    """

    def offsets(weights: list, gradients: list, step: tf.Tensor) -> list[tf.Tensor]:
        size = gamma * tf.cast(step >= from_step, tf.float32)
        return [
            size * tf.norm(w) * g / tf.maximum(tf.norm(g), _TINY) if len(w.shape) > 1 else tf.zeros_like(w)
            for w, g in zip(weights, gradients, strict=True)
        ]

    return _sharpness_aware(offsets)


def sam(rho: float, *, adaptive: bool = False) -> Step:
    """Sharpness-aware minimisation (Foret et al., 2021) around any objective; SADA-JEM has rho = 2, adaptive.

    The gradient is taken at w + rho g / |g|, the norm over all weights; with `adaptive` (ASAM, Kwon et al., 2021) at
    w + rho w^2 g / |w g|. Two gradients a step; attacks and chains run once, at w. Batch statistics are those at w, as
    in the code of SADA-JEM: at rho = 2 those of the moved weights belong to another net.

    Args:
      rho: size of the perturbation; 0 is `descend`.
      adaptive: scale each weight's part by its own size.
    """

    def offsets(weights: list, gradients: list, step: tf.Tensor) -> list[tf.Tensor]:
        del step
        scales = [tf.abs(w) if adaptive else tf.ones_like(w) for w in weights]
        norm = tf.linalg.global_norm([s * g for s, g in zip(scales, gradients, strict=True)])
        return [rho * s**2 * g / tf.maximum(norm, _TINY) for s, g in zip(scales, gradients, strict=True)]

    return _sharpness_aware(offsets, keep_statistics=True)


class FreeStep(keras.layers.Layer):
    """Adversarial training for free (Shafahi et al., 2019): one gradient moves the weights and the perturbation.

    Trains on x + delta, and after each step delta <- project(delta + epsilon * ascent(d loss / d x)). delta is kept
    from step to step. The method needs a stream that serves each batch m times (`training_stream(replays=m)`): a plain
    `fit` on arrays serves each once, m = 1, where delta is always the answer to another batch. With epsilon 0 it is
    `descend`. A layer, so that checkpoints carry delta.
    """

    def __init__(self, ball: Ball, *, batch_size: int, image_shape: tuple[int, int, int]):
        """
        Args:
          ball: where delta may be; a step has its radius as length.
          batch_size: images in each batch, the last one as well: drop an incomplete one.
          image_shape: (H, W, C).
        """
        super().__init__(name="free", dtype="float32", trainable=False)
        self.ball = ball
        self.delta = self.add_weight(
            name="delta", shape=(batch_size, *image_shape), initializer="zeros", trainable=False
        )
        self.built = True

    def __call__(
        self,
        net: Any,
        objective: Objective,
        optimizer: keras.optimizers.Optimizer,
        x: Images,
        labels: Labels,
        seed: Seed,
    ) -> LossOut:
        first, number = this_replica().rows(self.delta.shape[0], "a batch_size")
        if x.shape[0] is not None:
            self.check_batch(x.shape[0], number)
        delta = self.delta.value[first : first + number]
        x_free = tf.clip_by_value(x + delta, 0.0, 1.0)
        batch = objective.prepare(net, x_free, labels, seed)
        variables = net.trainable_variables
        with tf.GradientTape() as tape:
            tape.watch(batch.x_adv)
            out = objective.total(net, batch)
            scaled = optimizer.scale_loss(out.loss)
        gradients, upwards = tape.gradient(scaled, (variables, batch.x_adv))
        gradients = mean_over_replicas(gradients)
        apply_means(optimizer, gradients, variables)
        upwards = unscaled(optimizer, [upwards])[0]
        moved = delta + self.ball.epsilon * self.ball.ascent(upwards)
        moved = self.ball.project(moved, tf.zeros_like(moved))
        # An overflow under loss scaling leaves delta as it is: the sign of a NaN would stay for good.
        finite = tf.reduce_all(tf.math.is_finite(upwards), axis=(1, 2, 3))
        moved = tf.compat.v1.where(finite, moved, delta)
        rows = first + tf.range(number)
        self.delta.assign(tf.tensor_scatter_nd_update(self.delta.value, rows[:, None], moved))
        return _with_norm(out, optimizer, gradients)

    def check_batch(self, size: int, deltas: int | None = None) -> None:
        """Raises ValueError unless there is a delta for each image of a batch of that size."""
        if size != (self.delta.shape[0] if deltas is None else deltas):
            raise ValueError(f"{self._expected()}, received {size}")

    def _expected(self) -> str:
        size = self.delta.shape[0]
        return f"expected batches of {size} images, the batch_size of Free; drop the last one if it is smaller"

    def checked(self, x: Images, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """A batch itself, of the right number of images; for `tf.data.Dataset.map`.

        In a training step, where other operations fail beside this check, the message would be that of the fastest.

        Raises:
          InvalidArgumentError: it is of another number, when the dataset is run.
        """
        fits = tf.debugging.assert_equal(tf.shape(x)[0], self.delta.shape[0], self._expected())
        with tf.control_dependencies([fits]):
            return tuple(tf.identity(one) for one in (x, *others))


_TINY = 1e-12

Offsets = Callable[[list, list, tf.Tensor], list[tf.Tensor]]


def _sharpness_aware(offsets: Offsets, *, keep_statistics: bool = False) -> Step:
    """Steps by the gradient at weights + offsets(weights, gradients, optimizer step).

    `weights` are those that the first pass leaves; what the second one makes of the moved weights, e.g. a projection,
    is forgotten. What is not trained (power iterations, batch statistics) moves in both. With `keep_statistics` the
    second pass leaves batch statistics as they were.
    """

    def update(
        net: Any,
        objective: Objective,
        optimizer: keras.optimizers.Optimizer,
        x: Images,
        labels: Labels,
        seed: Seed,
    ) -> LossOut:
        batch = objective.prepare(net, x, labels, seed)
        variables = net.trainable_variables
        _, gradients = _gradients(net, objective, optimizer, batch)
        # Read after that pass: layers may set their weights in it (spectral norm's projection, ActNorm's first batch).
        weights = [tf.identity(v.value) for v in variables]
        statistics = _batch_statistics(net) if keep_statistics else []
        seen = [tf.identity(v.value) for v in statistics]
        # A weight that the loss does not depend on has no gradient and stays.
        known = zip(weights, _finite(optimizer, gradients), strict=True)
        moved = offsets(weights, [tf.zeros_like(w) if g is None else g for w, g in known], optimizer.iterations)
        for variable, weight, offset in zip(variables, weights, moved, strict=True):
            variable.assign(weight + offset)
        out, gradients = _gradients(net, objective, optimizer, batch)
        for variable, weight in zip([*variables, *statistics], [*weights, *seen], strict=True):
            variable.assign(weight)
        apply_means(optimizer, gradients, variables)
        return _with_norm(out, optimizer, gradients)

    return update


def _batch_statistics(net: keras.Model) -> list[keras.Variable]:
    """Moving means and variances of all batch normalisation in the net."""
    layers = [each for each in net._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    return [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]


def _gradients(
    net: Any, objective: Objective, optimizer: keras.optimizers.Optimizer, batch: Batch
) -> tuple[LossOut, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        out = objective.total(net, batch)
        scaled = optimizer.scale_loss(out.loss)
    return out, mean_over_replicas(tape.gradient(scaled, net.trainable_variables))


def unscaled(optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """Gradients of the loss itself, of those that `optimizer.scale_loss` has multiplied."""
    if not _scales(optimizer):
        return gradients
    scale = optimizer.scale_loss(tf.constant(1.0))
    return [None if g is None else g / tf.cast(scale, g.dtype) for g in gradients]


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    scaling = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return scaling or bool(getattr(optimizer, "loss_scale_factor", None))


def _finite(optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
    """`unscaled` gradients; zeros on a step where a scaled one overflowed, which the optimizer skips."""
    if not _scales(optimizer):
        return gradients
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None])
    return [None if g is None else tf.where(finite, g, tf.zeros_like(g)) for g in unscaled(optimizer, gradients)]


def _with_norm(out: LossOut, optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor]) -> LossOut:
    """Adds the global norm of the unscaled gradients: 0 on a step that loss scaling skips."""
    norm = tf.linalg.global_norm(_finite(optimizer, gradients))
    return out._replace(terms=out.terms | {"gradient_norm": norm})
