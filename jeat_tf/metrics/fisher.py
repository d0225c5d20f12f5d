"""Fisher scores: how well the slope of an energy matches data whose density is not known."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.checks import admit, admit_images
from jeat_tf.core.energy import energy
from jeat_tf.core.logits import look_at_outputs
from jeat_tf.core.loops import advance, input_gradient
from jeat_tf.core.seeds import draw_each, fold_in, per_image
from jeat_tf.core.types import EnergyFn, Images, Labels, LogitsFn, Seed


class FisherScore(NamedTuple):
    """A Fisher score in its two terms, means over images.

    Attributes:
      gradient_term: of 1/2 |grad_x E|^2.
      trace_term: of -tr hess_x E.
      score: their sum; lower is closer to the data.
      gradient_error: standard error of the gradient term over images.
      trace_error: of the trace term; it contains what the probes add.
      score_error: of the score; it contains what the probes add.
      probe_error: standard error that the probes alone give to trace term and score; 0 where the trace is exact.
      units: of x, in which gradients and traces are taken.
    """

    gradient_term: float
    trace_term: float
    score: float
    gradient_error: float
    trace_error: float
    score_error: float
    probe_error: float
    units: str = "[0, 1] pixels"

    def symmetric(self) -> "FisherScore":
        """The same for images scaled to [-1, 1]: u = 2 x - 1 divides all of it by 4.

        Raises:
          ValueError: it is in these units already.
        """
        if self.units != "[0, 1] pixels":
            raise ValueError(f"expected a score in [0, 1] pixels, received one in {self.units}")
        numbers = {name: value / 4 for name, value in self._asdict().items() if name != "units"}
        return FisherScore(**numbers, units="[-1, 1] pixels")


class Trace(Protocol):
    """Traces of the Hessian of each image's energy, float32[S, B]: S independent unbiased estimates, 1 if exact.

    labels int[B] mean E(x, y), None means E(x). seeds int32[B, 2] are one for each image.
    """

    def __call__(self, logits_fn: LogitsFn, x: Images, labels: Labels | None, seeds: tf.Tensor) -> tf.Tensor: ...


def exact_trace(logits_fn: LogitsFn, x: Images, labels: Labels | None, seeds: tf.Tensor) -> tf.Tensor:
    """All D = H W C diagonal entries of the Hessian, one product with it after the other: for small images."""
    del seeds
    shape = x.shape[1:]

    def add(total: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
        axis = tf.reshape(tf.one_hot(i, shape.num_elements()), [1, *shape])
        return total + _curvature(lambda z: energy(logits_fn(z), labels), x, axis)

    return advance(add, tf.zeros([tf.shape(x)[0]]), 0, shape.num_elements())[None]


def hutchinson_trace(
    logits_fn: LogitsFn, x: Images, labels: Labels | None, seeds: tf.Tensor, *, num_probes: int = 16
) -> tf.Tensor:
    """v . (Hessian v) for random signs v, one estimate for each probe (Hutchinson, 1990).

    Its variance is 2 sum_{i != j} H_ij^2: none for a diagonal Hessian.

    Args:
      logits_fn: images -> logits [B, K].
      x: float32[B, H, W, C].
      labels: int[B] for E(x, y), None for E(x).
      seeds: int32[B, 2], of the probes.
      num_probes: estimates for each image; one would leave its error unknown.

    Raises:
      ValueError: num_probes < 2.
    """
    if num_probes < 2:
        raise ValueError(f"expected num_probes >= 2, to tell their error, received {num_probes}")
    shape = x.shape[1:]

    def signs(seed: Seed) -> tf.Tensor:
        return 2.0 * tf.cast(tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32, alg="philox"), tf.float32) - 1.0

    def probe(i: tf.Tensor) -> tf.Tensor:
        directions = draw_each(lambda seed: signs(fold_in(seed, i)), seeds)
        return _curvature(lambda z: energy(logits_fn(z), labels), x, tf.reshape(directions, tf.shape(x)))

    # One probe at a time: map_fn would hold the activations of ten.
    return tf.map_fn(probe, tf.range(num_probes), parallel_iterations=1, fn_output_signature=tf.float32)


def piecewise_linear_trace(logits_fn: LogitsFn, x: Images, labels: Labels | None, seeds: tf.Tensor) -> tf.Tensor:
    """The exact trace if logits are piecewise linear in x, by K backward passes (see `fisher_score`).

    0 for E(x, y); for E(x) minus the variance of grad f_k over p(k | x). For other nets it is wrong: it leaves out
    sum_k p_k tr hess f_k.
    """
    del seeds
    if labels is not None:
        return tf.zeros([1, tf.shape(x)[0]])
    p = tf.nn.softmax(tf.cast(logits_fn(x), tf.float32))
    mean = -input_gradient(lambda z: energy(logits_fn(z)), x)

    def add(total: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        slope = input_gradient(lambda z: tf.cast(tf.gather(logits_fn(z), k, axis=-1), tf.float32), x)
        return total - tf.gather(p, k, axis=-1) * _sum(tf.square(slope - mean))

    return advance(add, tf.zeros([tf.shape(x)[0]]), 0, p.shape[-1])[None]


def fisher_score(
    net: Any,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    trace: Trace = exact_trace,
    seed: Seed = (0, 0),
    batch_size: int = 128,
) -> FisherScore:
    """The joint Fisher score (JFS) of E(x, y) if labels are given, else the marginal one (MFS) of E(x).

    mean of 1/2 |grad_x E|^2 - tr hess_x E over images of the data: eq. 23 and 24 of JEAT (Zhu et al., 2021). This is
    Hyvarinen's objective, eq. 22, for the score s = -grad_x E. It is the Fisher divergence, eq. 21, up to a constant
    of the data, so that a lower one is a better fit; the data's own density has minus its gradient term.

    That reading needs an energy that is twice differentiable. With piecewise linear activations (ReLU, LeakyReLU, max
    pooling) f(x)[k] has no curvature almost everywhere; all of it lies in the kinks, where no derivative sees it.
    The JFS is then its gradient term alone: never negative, and lowest for a constant energy, whatever the data. The
    MFS keeps the curvature of logsumexp, which does not lower it either: with p_k = p(k | x)

        -tr hess_x E(x) = sum_k p_k |grad f_k|^2 - |sum_k p_k grad f_k|^2 >= 0.

    Look at both terms, and rank only nets with smooth activations (swish, softplus) by the sum.

    The paper does not give the unit of x of its table 2; `FisherScore.symmetric` converts to images in [-1, 1].

    Args:
      net: images -> logits [B, K]; called in inference mode.
      images: float[N, H, W, C] in [0, 1], of the data.
      labels: int[N], their classes, or None.
      trace: `exact_trace`, `piecewise_linear_trace`, or `functools.partial(hutchinson_trace, num_probes=...)`.
      seed: int32[2], of the probes; each image's own is made of it and its content, the same in any batch.
      batch_size: images in one call of the net.

    Raises:
      ValueError: fewer than two images, images that are no pixels in [0, 1], labels that fit neither them nor the
        logits, a net that does not give logits, batch_size < 1.
    """
    images = admit_images(images)
    if len(images) < 2 or batch_size < 1:
        raise ValueError(f"expected at least 2 images and batch_size >= 1, received {len(images)} and {batch_size}")
    logits_fn = inference(net)
    logits = look_at_outputs(net, images[:batch_size])
    joint = labels is not None
    images, classes = admit(images, labels if joint else np.zeros(len(images), np.int32), logits.shape[-1])

    def terms(x: Images, y: Labels, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        known = y if joint else None
        slope = input_gradient(lambda z: energy(logits_fn(z), known), x)
        return 0.5 * _sum(tf.square(slope)), trace(logits_fn, x, known, seeds)

    # An open batch dimension: one trace serves the last, smaller batch too.
    shapes = ([None, *images.shape[1:]], tf.float32), ([None], tf.int32), ([None, 2], tf.int32)
    signature = [tf.TensorSpec(*shape) for shape in shapes]
    compiled = tf.function(terms, signature, autograph=False).get_concrete_function()
    rows = classes, per_image(seed, images)
    parts = [
        compiled(*(tf.constant(values[i : i + batch_size]) for values in (images, *rows)))
        for i in range(0, len(images), batch_size)
    ]
    gradient_terms = np.concatenate([part[0] for part in parts]).astype(np.float64)
    return _summary(gradient_terms, -np.concatenate([part[1] for part in parts], axis=1).astype(np.float64))


def _summary(gradient_terms: np.ndarray, estimates: np.ndarray) -> FisherScore:
    """Means and errors of the gradient terms float64[N] and of the estimates float64[S, N] of the trace terms."""
    num_probes, count = estimates.shape
    trace_terms = estimates.mean(axis=0)
    probe_variance = estimates.var(axis=0, ddof=1).sum() / num_probes if num_probes > 1 else 0.0

    def error(values: np.ndarray) -> float:
        return float(values.std(ddof=1) / np.sqrt(count))

    return FisherScore(
        gradient_term=float(gradient_terms.mean()),
        trace_term=float(trace_terms.mean()),
        score=float((gradient_terms + trace_terms).mean()),
        gradient_error=error(gradient_terms),
        trace_error=error(trace_terms),
        score_error=error(gradient_terms + trace_terms),
        probe_error=float(np.sqrt(probe_variance) / count),
    )


def _curvature(energy_fn: EnergyFn, x: Images, direction: tf.Tensor) -> tf.Tensor:
    """direction . (Hessian direction) of each image's energy, float32[B]; two backward passes."""

    def slope(z: Images) -> tf.Tensor:
        return _sum(input_gradient(energy_fn, z) * direction)

    return _sum(input_gradient(slope, x) * direction)


def _sum(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=[1, 2, 3])
