"""A Residual Flow (Chen et al., 2019): blocks x + g(x) that are invertible because g is a contraction.

The logits are log p(x | y) as for every flow (`models.flow`), so the net is attacked, sampled and measured like any
other. Its log-determinants are estimates. All classes share them: p(y | x) and attacks on cross-entropy are exact.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from jeat_tf.core.seeds import fold_in, split
from jeat_tf.core.types import Images, Seed
from jeat_tf.models.flow import ActNorm, Bijection, Center, ClassGaussians, Squeeze, chain_of

_FIRST_ITERATIONS, _ITERATIONS = 50, 5  # of the power method: for a kernel as it is drawn, and in a training pass
_EXACT_TERMS = 2  # of the series, that the roulette always takes; as in the authors' code
_INVERSE_TOLERANCE = 1e-6  # of the largest number, where the fixed point is found
_INVERSE_STEPS = 1000


def residual_flow(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    levels: int = 2,
    depth: int = 4,
    width: int = 64,
    coefficient: float = 0.9,
    terms: int = 8,
) -> keras.Model:
    """Log-densities of images for each class, by residual blocks that are contractions.

    `depth` pairs of (ActNorm, residual block) at each size of the image, with a squeeze between two sizes and a last
    ActNorm; sec. 4.1 of Chen et al., 2019, https://arxiv.org/abs/1906.02735. Call `initialize_flow` on a batch before
    training. The paper's net for CIFAR-10 has levels=3, depth=16, width=512, coefficient=0.98.

    Args:
      image_shape: (H, W, C), H and W multiples of 2^(levels - 1).
      num_classes: K.
      levels: sizes of the image, each half of the one before.
      depth: residual blocks at each size.
      width: channels inside the blocks.
      coefficient: bound on the norm of each of the three convolutions of a block, below 1.
      terms: of the series of log-determinants, in inference.

    Returns:
      net: images in [0, 1] -> log p(x | y) float32[B, K] in nats. In inference the log-determinant is a series of
        `terms` terms with one fixed probe for each block, a function of the image that has exact gradients. In training
        mode it is an unbiased estimate. `log_densities` averages such estimates.

    Raises:
      ValueError: blocks that are no contractions, or an image that cannot be halved that often.
    """
    factor = 2 ** (levels - 1)
    if levels < 1 or image_shape[0] % factor or image_shape[1] % factor:
        raise ValueError(
            "expected levels >= 1 and images whose height and width are multiples of 2^(levels - 1), "
            f"received levels={levels} and images of {image_shape[0]}x{image_shape[1]}"
        )
    inputs = keras.Input(image_shape, name="images")
    x, log_det = Center()(inputs)
    log_dets = [log_det]
    for level in range(levels):
        steps: list[Bijection] = [Squeeze()] if level else []
        for block in range(depth):
            steps += [ActNorm(), ResidualBlock(width, coefficient, terms, seed=level * depth + block)]
        for step in steps if level < levels - 1 else [*steps, ActNorm()]:
            x, log_det = step(x)
            log_dets.append(log_det)
    logits = ClassGaussians(num_classes, name="logits")([x], log_dets)
    return keras.Model(inputs, logits, name="residual_flow")


def log_densities(net: keras.Model, images: Images, *, draws: int = 10, seed: Seed) -> tf.Tensor:
    """Estimates of log p(x | y), float32[draws, B, K], whose mean over many draws is exact.

    Args:
      net: a flow; the draws of one without residual blocks are equal.
      images: float32[B, H, W, C].
      draws: independent estimates, for a mean and its standard error.
      seed: int32[2].

    Raises:
      ValueError: not a flow.
    """
    steps, base = chain_of(net)

    @tf.function(autograph=False)
    def estimate(images: Images, seed: Seed) -> tf.Tensor:
        x, log_dets, latents = images, [], []
        for step, own in zip(steps, split(seed, len(steps)), strict=True):
            x, log_det = step.estimate(x, own) if isinstance(step, ResidualBlock) else step(x)
            if isinstance(x, tuple):
                x, noise = x
                latents.append(noise)
            log_dets.append(log_det)
        return base([*latents, x], log_dets)

    return tf.stack([estimate(images, own) for own in split(seed, draws)])


class BoundedConvolution(keras.layers.Layer):
    """The weights of a convolution whose norm, as a linear map of whole images, is at most `coefficient`.

    The kernel is multiplied by min(1, coefficient / norm). The norm is |W v| for a unit image v, which the power method
    turns to the direction that the kernel stretches most: fifty steps when the layer is built and five in each training
    pass. So the bound holds as far as v has followed the kernel; the tests find it exceeded by less than 2%.
    """

    def __init__(self, filters: int, size: int, coefficient: float, scale: float = 1.0, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.size, self.coefficient, self.scale = filters, size, coefficient, scale

    def build(self, input_shape: tuple) -> None:
        shape = (self.size, self.size, input_shape[-1], self.filters)
        with tf.init_scope():
            kernel = tf.convert_to_tensor(keras.initializers.VarianceScaling(2.0 * self.scale**2)(shape))
            v = tf.math.l2_normalize(tf.convert_to_tensor(keras.initializers.RandomNormal()((1, *input_shape[1:]))))
            v = _turned(v, kernel, _FIRST_ITERATIONS)

        def weight(name: str, value: tf.Tensor, trainable: bool) -> keras.Variable:
            return self.add_weight(
                name=name,
                shape=value.shape,
                initializer=lambda *args, **kwargs: value,
                trainable=trainable,
                autocast=False,
                **({} if trainable else {"aggregation": "only_first_replica"}),
            )

        self.kernel = weight("kernel", kernel, True)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros", autocast=False)
        self.direction = weight("direction", v, False)

    def follow(self) -> None:
        """Turns the image v towards the direction that the kernel, as it is now, stretches most."""
        direction, kernel = (tf.convert_to_tensor(weight) for weight in (self.direction, self.kernel))
        self.direction.assign(_turned(direction, kernel, _ITERATIONS))

    def bounded_kernel(self) -> tf.Tensor:
        """The kernel that the convolution uses."""
        kernel = tf.convert_to_tensor(self.kernel)
        norm = tf.norm(_convolved(tf.stop_gradient(tf.convert_to_tensor(self.direction)), kernel))
        return kernel * tf.minimum(1.0, self.coefficient / tf.maximum(norm, _TINY))


@keras.saving.register_keras_serializable("jeat_tf")
class ResidualBlock(Bijection):
    """x + g(x) with a contraction g: 3x3, 1x1 and 3x3 convolutions of bounded norm with LipSwish between them.

    log |det(I + J)| = sum_k (-1)^(k+1) tr(J^k) / k, J the Jacobian of g. A trace is v^T J^k v for a random v of signs
    (Hutchinson). Training mode takes a random number of terms, each divided by the chance that it is taken (Russian
    roulette: eq. 6 of Chen et al., 2019), and the gradient by their eq. 8, which keeps one term in memory. Its seed is
    made of the block's seed and of the images, so that no state has to be kept. The chance of one more term is
    coefficient^3, the bound on g: the estimates then have a finite variance.
    """

    def __init__(self, width: int, coefficient: float = 0.9, terms: int = 8, seed: int = 0, **kwargs: Any):
        if not 0 < coefficient < 1:
            raise ValueError(
                f"expected blocks that are contractions, with a coefficient above 0 and below 1, received {coefficient}"
                ": x + g(x) may then have no inverse; lower it"
            )
        super().__init__(**kwargs)
        self.width, self.coefficient, self.terms, self.seed = width, coefficient, terms, seed

    def build(self, input_shape: tuple) -> None:
        shape = tuple(input_shape)
        self.convolutions = [
            BoundedConvolution(self.width, 3, self.coefficient),
            BoundedConvolution(self.width, 1, self.coefficient),
            BoundedConvolution(shape[-1], 3, self.coefficient, scale=0.1),
        ]
        for convolution in self.convolutions:
            convolution.build(shape)
            shape = (*shape[:-1], convolution.filters)
        self.betas = self.add_weight(name="betas", shape=(2,), initializer=_constant_beta, autocast=False)

    def contraction(self, x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """g(x), and w -> w J, the product with its Jacobian there.

        Written out rather than taken from a tape: a series needs the product many times, and training its gradient.
        """
        kernels = [convolution.bounded_kernel() for convolution in self.convolutions]
        betas = tf.unstack(tf.nn.softplus(tf.convert_to_tensor(self.betas)))
        shape_of_x, shapes, slopes = x.shape, [], []
        for convolution, kernel, beta in zip(self.convolutions, kernels, [*betas, None], strict=True):
            shapes.append(tf.shape(x))
            x = _convolved(x, kernel) + convolution.bias
            if beta is not None:
                x, slope = _lip_swish(x, beta)
                slopes.append(slope)

        def product(w: tf.Tensor) -> tf.Tensor:
            for kernel, shape, slope in zip(
                reversed(kernels), reversed(shapes), [None, *reversed(slopes)], strict=True
            ):
                w = tf.nn.conv2d_transpose(w if slope is None else w * slope, kernel, shape, strides=1)
            return tf.ensure_shape(w, shape_of_x)

        return x, product

    def call(self, x: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        if training:
            for convolution in self.convolutions:
                convolution.follow()
            content = tf.reduce_sum(tf.bitcast(x, tf.int32))  # of integers: the same in any order of summation
            return self.estimate(x, fold_in(tf.constant([self.seed, 11]), content))
        signs = _signs(tf.shape(x[:1]), tf.constant([self.seed, 12]))
        return self._series(x, tf.broadcast_to(signs, tf.shape(x)))

    def estimate(self, x: tf.Tensor, seed: Seed) -> tuple[tf.Tensor, tf.Tensor]:
        """x + g(x), and an unbiased estimate float32[B] of the log-determinant with an unbiased gradient."""
        roulette, signs = split(seed)
        go_on = self.coefficient**3
        uniform = tf.random.stateless_uniform([], roulette, minval=1e-6, alg="philox")
        number = _EXACT_TERMS + tf.cast(tf.math.log(uniform) / math.log(go_on), tf.int32)
        v = _signs(tf.shape(x), signs)
        g, product = self.contraction(x)

        def term(k: tf.Tensor, w: tf.Tensor, weights: tf.Tensor, log_det: tf.Tensor) -> tuple[tf.Tensor, ...]:
            taken = tf.pow(go_on, tf.cast(tf.maximum(k - _EXACT_TERMS, 0), tf.float32))
            sign = 1.0 - 2.0 * tf.cast((k - 1) % 2, tf.float32)
            weights += sign / taken * w
            w = product(w)
            return k + 1, w, weights, log_det + sign / taken / tf.cast(k, tf.float32) * _dot(w, v)

        first = (tf.constant(1), v, tf.zeros_like(v), _dot(v, tf.zeros_like(v)))
        _, _, weights, log_det = tf.while_loop(lambda k, *_: k <= number, term, first)
        log_det = tf.stop_gradient(log_det)
        slope = _dot(product(tf.stop_gradient(weights)), v)
        return x + g, log_det + slope - tf.stop_gradient(slope)

    def _series(self, x: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        g, product = self.contraction(x)
        w, log_det = v, tf.zeros(tf.shape(x)[:1])
        for k in range(1, self.terms + 1):
            w = product(w)
            log_det += (-1) ** (k + 1) / k * _dot(w, v)
        return x + g, log_det

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        """The fixed point of x = y - g(x)."""
        tolerance = _INVERSE_TOLERANCE * tf.maximum(1.0, tf.reduce_max(tf.abs(y)))

        def moves(x: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
            del x
            return moved > tolerance

        def step(x: tf.Tensor, moved: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            del moved
            found = y - self.contraction(x)[0]
            return found, tf.reduce_max(tf.abs(found - x))

        return tf.while_loop(moves, step, (y, tf.constant(float("inf"))), maximum_iterations=_INVERSE_STEPS)[0]

    def get_config(self) -> dict[str, Any]:
        mine = {"width": self.width, "coefficient": self.coefficient, "terms": self.terms, "seed": self.seed}
        return {**super().get_config(), **mine}


_TINY = 1e-12
_constant_beta = keras.initializers.Constant(0.5)  # softplus(0.5) = 0.97, as in the authors' code


def _lip_swish(x: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """x sigmoid(beta x) / 1.1, whose slope is at most 1 (Chen et al., 2019, eq. 10), and that slope."""
    gate = tf.sigmoid(beta * x)
    return x * gate / 1.1, (gate + beta * x * gate * (1.0 - gate)) / 1.1


def _convolved(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")


def _turned(v: tf.Tensor, kernel: tf.Tensor, steps: int) -> tf.Tensor:
    """Steps of the power method: v <- W^T W v, of length 1."""
    for _ in range(steps):
        v = tf.math.l2_normalize(tf.nn.conv2d_transpose(_convolved(v, kernel), kernel, tf.shape(v), strides=1))
    return v


def _signs(shape: tf.Tensor, seed: Seed) -> tf.Tensor:
    """-1 or 1 with equal chance."""
    drawn = tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32, alg="philox")
    return 2.0 * tf.cast(drawn, tf.float32) - 1.0


def _dot(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Inner products float32[B] of images."""
    return tf.reduce_sum(one * other, axis=[1, 2, 3])
