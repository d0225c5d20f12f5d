"""Chains down E(x, y) - E(x) and E(x, y): what they reach, and which energy drives them (JEAT Fig. 4, 5, 12, 13)."""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from jeat_tf.attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy
from jeat_tf.core.loops import input_gradient
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw, Images, Seed, Surrogate
from jeat_tf.figures.style import add_legend, draw_band, line_styles, panels, set_title
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.values import Sampler
from jeat_tf.samplers.walks import Walk


def paired_samples(
    net: keras.Model, labels: np.ndarray, *, start: Draw, sampler: Sampler, seed: Seed
) -> dict[str, np.ndarray]:
    """Images of a net by eq. 16, down E(x, y) - E(x), and by eq. 17, down E(x, y) (JEAT Fig. 4 and 5).

    Both chains have the same starts and the same noise, so that they differ by the energy alone. For `class_grid`.

    Args:
      net: images -> logits.
      labels: int[N], the requested classes; all chains run as one batch.
      start: (labels, seed) -> first images.
      sampler: the chain, e.g. `SGLD(steps=50)`.
      seed: int32[2].

    Returns:
      images: float32[N, H, W, C] under "start", "E(x, y) - E(x)" and "E(x, y)".
    """

    y = tf.constant(labels)
    x = start(y, fold_in(seed, 0))

    @tf.function(autograph=False)
    def run() -> dict[str, Images]:
        stages = {
            "start": [],
            "E(x, y) - E(x)": [Stage(sampler, "cross_entropy")],
            "E(x, y)": [Stage(sampler, "joint")],
        }
        return {name: generate(net, y, seed=seed, start=lambda *_: x, stages=s) for name, s in stages.items()}

    # Traced explicitly: called for several nets, TensorFlow warns of one function that is traced again.
    images = run.get_concrete_function()()
    return {name: images[name].numpy() for name in ("start", "E(x, y) - E(x)", "E(x, y)")}


class GradientNorms(NamedTuple):
    """l2 norms of the gradients with respect to the image, along chains; in energy per unit of pixel value.

    Attributes:
      nets: str[M].
      step: int64[R], 0 to the last.
      joint: float32[M, R, N], of E(x, y).
      marginal: float32[M, R, N], of E(x).
    """

    nets: np.ndarray
    step: np.ndarray
    joint: np.ndarray
    marginal: np.ndarray


def gradient_norms(
    nets: dict[str, keras.Model],
    labels: np.ndarray,
    *,
    start: Draw,
    walk: Walk,
    num_steps: int,
    every: int,
    seed: Seed,
    surrogate: Surrogate = cross_entropy,
) -> GradientNorms:
    """||grad E(x, y)|| and ||grad E(x)|| at every so many steps of a chain (JEAT Fig. 12 and 13).

    All nets have the same starts and the same noise.

    Args:
      nets: images -> logits, by name.
      labels: int[N], the requested classes; all chains run as one batch.
      start: (labels, seed) -> first images.
      walk: the chain's step, e.g. `langevin(step_size=0.25, noise_std=0.005)`.
      num_steps: of the whole chain.
      every: steps between readings.
      seed: int32[2].
      surrogate: what the chain lowers; the papers' figures have E(x, y) - E(x), eq. 16 (21 in the appendix).

    Raises:
      ValueError: `num_steps` is not a multiple of `every`, or one is below 1.
    """
    if every < 1 or num_steps < 1 or num_steps % every:
        raise ValueError(f"expected num_steps, a multiple of every >= 1, received {num_steps} and every={every}")
    y = tf.constant(labels)

    def norms(net: keras.Model) -> np.ndarray:
        logits_fn = inference(net)
        energy_fn = surrogate(logits_fn, y)

        @tf.function(autograph=False)
        def read(x: Images) -> tf.Tensor:
            gradients = [input_gradient(energy_of(logits_fn, y), x) for energy_of in (joint_energy, marginal_energy)]
            return tf.stack([tf.norm(tf.reshape(g, [len(labels), -1]), axis=1) for g in gradients])

        @tf.function(autograph=False)
        def advance(x: Images, memory: Any, first: tf.Tensor) -> tuple[Images, Any]:
            chain_seed = fold_in(seed, 1)
            return walk.advance(energy_fn, x, memory, seed=chain_seed, start=first, stop=first + every)

        x = start(y, fold_in(seed, 0))
        memory = walk.begin(energy_fn, x)
        readings = [read(x)]
        for first in range(0, num_steps, every):
            x, memory = advance(x, memory, tf.constant(first))
            readings.append(read(x))
        return np.stack(readings, axis=1)

    values = np.stack([norms(net) for net in nets.values()])
    return GradientNorms(
        nets=np.array(list(nets)),
        step=np.arange(0, num_steps + 1, every),
        joint=values[:, 0],
        marginal=values[:, 1],
    )


def draw_gradient_norms(norms: GradientNorms) -> Figure:
    """A panel for each net, on a scale of its own: means over the chains, bands one standard deviation to each side.

    Args:
      norms: of `gradient_norms`.
    """
    rows = math.ceil(len(norms.nets) / 4)
    figure, axes = panels(rows, math.ceil(len(norms.nets) / rows))
    joint, marginal = r"$\|\nabla_x E(x, y)\|$", r"$\|\nabla_x E(x)\|$"
    curves = {joint: norms.joint, marginal: norms.marginal}
    styles = line_styles(curves)
    styles[marginal]["linestyle"] = "--"  # the two are often the same
    for i, (ax, net) in enumerate(zip(axes.flat, norms.nets, strict=False)):
        for name, values in curves.items():
            mean, std = values[i].mean(axis=1), values[i].std(axis=1)
            draw_band(ax, norms.step, mean, np.maximum(mean - std, 0), mean + std, name, styles[name])
        set_title(ax, str(net), inches=2.6)
        ax.set_xlabel("steps of the chain")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_ylim(bottom=0)
    for ax in axes.flat[len(norms.nets) :]:
        ax.set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel("l2 norm of the gradient")
    add_legend(figure, axes[0, 0])
    return figure
