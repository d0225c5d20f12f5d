"""Images made of images: filled in, cleaned, enlarged, moved to another class, and the way there.

A net whose energy was trained, or that is robust, does all of these without further training (Du & Mordatch, 2019;
Santurkar et al., 2019, https://arxiv.org/abs/1906.09453): each is a chain or an attack with one more condition. Values
are checked in eager mode alone; the functions themselves also run inside `tf.function`, which is faster.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy, inference, joint_energy, marginal_energy, opposite
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Ball
from jeat_tf.core.checks import admit, admit_images
from jeat_tf.core.logits import look_at_outputs
from jeat_tf.core.loops import advance
from jeat_tf.core.seeds import as_seed, fold_in, split
from jeat_tf.core.types import EnergyFn, Images, Labels, Seed, Surrogate
from jeat_tf.samplers.metropolis import Acceptance
from jeat_tf.samplers.start_layer import uniform
from jeat_tf.samplers.values import Chain
from jeat_tf.samplers.walks import Memory, Walk, projected, run, stopping

_LOOKED_AT = 32  # images whose outputs show whether they are logits


def inpaint(
    net: Any,
    images: Images,
    known: tf.Tensor,
    labels: Labels | None,
    *,
    seed: Seed | int,
    chain: Chain,
    start: Images | None = None,
) -> Images:
    """Images float32[B, H, W, C] with their known pixels, bit for bit, and the others found by a chain.

    After each step the known pixels are put back. Metropolis walks are refused: their memory would be of other images.

    Args:
      net: images -> logits.
      images: float[B, H, W, C], in [0, 1] where known; unknown pixels are ignored, even NaN.
      known: bool, or float of 0 and 1, [B, H, W, 1] or like images: where an image is given.
      labels: int[B], the chain goes down E(x, y); None: down E(x).
      seed: int32[2].
      chain: how images move, e.g. `SGLD(steps=50)`.
      start: float[B, H, W, C], whose unknown pixels the chain starts from, e.g. of a `ClassGaussians()` layer;
        None is uniform noise.

    Raises:
      ValueError: images or a start outside [0, 1] or not finite, labels out of range, a mask or a start of another
        shape, a Metropolis walk.
    """
    known = _mask(known, images)
    images, labels = _given(net, tf.where(known, images, tf.zeros_like(images)), labels)
    start_seed, chain_seed = split(as_seed(seed))
    if start is None:
        start = uniform(tuple(images.shape[1:]))(images, start_seed)
    elif tf.executing_eagerly():
        start = admit_images(start)
        if tuple(start.shape) != tuple(images.shape):
            raise ValueError(f"expected a start of shape {list(images.shape)}, received {list(start.shape)}")

    def hold(x: Images) -> Images:
        return tf.where(known, images, x)

    first = hold(tf.cast(start, tf.float32))
    return run(_held(chain, hold), _energy_fn(net, labels), first, seed=chain_seed, num_steps=chain.steps)


def denoise(
    net: Any,
    images: Images,
    labels: Labels | None = None,
    *,
    seed: Seed | int,
    chain: Chain,
    fidelity: float,
) -> Images:
    """Images float32[B, H, W, C] after a chain on E + fidelity / 2 * |x - images|^2, started at the images.

    If exp(-E) is the density of clean images, this is minus the log posterior under Gaussian noise of variance
    1 / fidelity: without noise in the chain its maximum is sought, with `MALA` or `HMC` it is sampled.

    Args:
      net: images -> logits.
      images: float[B, H, W, C] in [0, 1].
      labels: int[B] for E(x, y), None for E(x).
      seed: int32[2].
      chain: how images move; `SGLD` overshoots if step_size * fidelity is above 1, and diverges above 2.
      fidelity: 0 and above; 0 is the chain on E alone.

    Raises:
      ValueError: images outside [0, 1] or not finite, labels out of range, a negative fidelity.
    """
    if not fidelity >= 0:
        raise ValueError(f"expected fidelity of 0 and above, received {fidelity}")
    images, labels = _given(net, images, labels)
    energy_fn = _energy_fn(net, labels)

    def posterior(x: Images) -> tf.Tensor:
        return energy_fn(x) + 0.5 * fidelity * tf.reduce_sum(tf.square(x - images), axis=(1, 2, 3))

    return chain(posterior, images, seed=seed)


def super_resolve(
    net: Any,
    small: Images,
    factor: int,
    labels: Labels | None = None,
    *,
    seed: Seed | int,
    chain: Chain,
) -> Images:
    """Images float32[B, h * factor, w * factor, C] in [0, 1] whose average pooling is `small`, to rounding.

    The chain starts at the bicubic enlargement, and each step ends in images that shrink to `small`. What a block's
    mean lacks is added to its pixels, and these are clipped to [0, 1]. What then remains is made up for by darkening
    or lightening the block in proportion. Where no pixel is clipped, that is the nearest such image. Metropolis walks
    are refused: their memory would be of other images.

    Args:
      net: large images -> logits.
      small: float[B, h, w, C] in [0, 1].
      factor: 2 and above.
      labels: int[B] for E(x, y), None for E(x).
      seed: int32[2].
      chain: how images move.

    Raises:
      ValueError: a factor that is no integer of 2 and above, images outside [0, 1] or not finite, labels out of range,
        a Metropolis walk.
    """
    if not isinstance(factor, int) or factor < 2:
        raise ValueError(f"expected a factor that is an integer of 2 and above, received {factor}")
    if tf.executing_eagerly():
        small = admit_images(small)
    small = tf.cast(small, tf.float32)
    size = [side * factor for side in small.shape[1:3]]
    enlarged = tf.clip_by_value(tf.image.resize(small, size, "bicubic"), 0.0, 1.0)
    enlarged, labels = _given(net, enlarged, labels)
    hold = _with_means(small, factor)
    walk = _held(chain, hold)
    return run(walk, _energy_fn(net, labels), hold(enlarged), seed=as_seed(seed), num_steps=chain.steps)


def shrink(images: Images, factor: int) -> Images:
    """Means float32[B, H / factor, W / factor, C] of blocks of factor x factor pixels.

    Raises:
      ValueError: a factor that does not divide height and width.
    """
    height, width = images.shape[1:3]
    if height % factor or width % factor:
        raise ValueError(f"expected a factor that divides images of {height} x {width} pixels, received {factor}")
    return tf.nn.avg_pool2d(tf.cast(images, tf.float32), factor, factor, "VALID")


def translate(
    net: Any,
    images: Images,
    labels: Labels,
    *,
    attack: PGD,
    seed: Seed | int = 0,
    surrogate: Surrogate = cross_entropy,
) -> Images:
    """Images float32[B, H, W, C] near the given ones that the net sees as the labels: targeted PGD in a ball.

    As in Santurkar et al., 2019, sec. 3.3: on a robust net the change is one that people see, too.

    Args:
      net: images -> logits.
      images: float[B, H, W, C] in [0, 1].
      labels: int[B], the classes to go to.
      attack: how far images may go, and how, e.g. `PGD(L2(3), steps=60, start="image")`.
      seed: an int, or int32[2]; for a random start alone.
      surrogate: what is lowered: `cross_entropy`, or `joint_energy`, which does not stop once the class is certain.

    Raises:
      ValueError: images outside [0, 1] or not finite, labels out of range.
    """
    if not callable(attack):
        raise TypeError(f"expected an attack such as PGD(L2(3), steps=60, start='image'), received {attack!r}")
    images, labels = _given(net, images, labels)
    loss_fn = opposite(surrogate)(inference(net), labels)
    return attack(loss_fn, images, seed=seed)


class Counterfactual(NamedTuple):
    """What would have to change for the net to see another class.

    Attributes:
      images: float32[B, H, W, C].
      path_length: float32[B], sum of the l2 lengths of the steps; a walk's noise adds to it.
      distance: float32[B], l2 from the given image to the last one.
      changed: bool[B, H, W, C], pixels that differ by more than the threshold.
      before: float32[B], probability of the requested class, in the given image.
      after: float32[B], the same in the last image; below the requested confidence where the steps did not suffice.
      first_step: int32[B], steps until the class was first predicted; 0 if it was from the start, -1 if never.
    """

    images: Images
    path_length: tf.Tensor
    distance: tf.Tensor
    changed: tf.Tensor
    before: tf.Tensor
    after: tf.Tensor
    first_step: tf.Tensor


def counterfactual(
    net: Any,
    images: Images,
    labels: Labels,
    *,
    seed: Seed | int,
    chain: Chain,
    within: Ball | None = None,
    confidence: float = 0.9,
    threshold: float = 0.1,
    surrogate: Surrogate = cross_entropy,
) -> Counterfactual:
    """A walk from each image to the requested class, stopped for each image once the net is confident of it.

    The net is called once more a step, to look; all steps are run, however many images have stopped.

    Args:
      net: images -> logits.
      images: float[B, H, W, C] in [0, 1].
      labels: int[B], the requested classes.
      seed: an int, or int32[2].
      chain: how images move, e.g. `SGLD(200, step_size=0.05, noise_std=0)`.
      within: a ball around the given images that they stay in.
      confidence: p(y | x) at which an image stops, in (0, 1].
      threshold: change of a pixel, in [0, 1], above which it counts as changed.
      surrogate: what is lowered, `cross_entropy` or `joint_energy`.

    Raises:
      ValueError: images outside [0, 1] or not finite, labels or confidence out of range.
    """
    if not 0 < confidence <= 1:
        raise ValueError(f"expected confidence in (0, 1], received {confidence}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"expected threshold in [0, 1], received {threshold}")
    if not (within is None or isinstance(within, Ball)):
        raise TypeError(f"expected within, a ball such as L2(3) or None, received {within!r}")
    images, labels = _given(net, images, labels)
    seed = as_seed(seed)
    logits_fn = inference(net)
    energy_fn = surrogate(logits_fn, labels)
    walk = chain.walk() if within is None else _held(chain, lambda x: within.project(x, images))

    def look(x: Images) -> tuple[tf.Tensor, tf.Tensor]:
        logits = logits_fn(x)
        probability = tf.gather(tf.nn.softmax(tf.cast(logits, tf.float32)), labels, batch_dims=1)
        return probability, tf.argmax(logits, axis=-1, output_type=tf.int32) == labels

    State = tuple[Images, Memory, tf.Tensor, tf.Tensor, tf.Tensor]

    def step(state: State, i: tf.Tensor) -> State:
        x, memory, length, first, probability = state
        moved, memory = walk.step(energy_fn, x, memory, fold_in(seed, i))
        moved = tf.compat.v1.where(probability >= confidence, x, moved)
        probability, predicted = look(moved)
        first = tf.where((first < 0) & predicted, i + 1, first)
        return moved, memory, length + _length(moved - x), first, probability

    before, predicted = look(images)
    first = tf.where(predicted, 0, -1)
    state = (images, walk.begin(energy_fn, images), tf.zeros_like(before), first, before)
    x, _, length, first, after = advance(step, state, 0, chain.steps)
    changed = tf.abs(x - images) > threshold
    return Counterfactual(x, length, _length(x - images), changed, before, after, first)


def _energy_fn(net: Any, labels: Labels | None) -> EnergyFn:
    return (marginal_energy if labels is None else joint_energy)(inference(net), labels)


def _length(change: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(change), axis=(1, 2, 3)))


def _with_means(small: Images, factor: int) -> Callable[[Images], Images]:
    def over_blocks(values: tf.Tensor) -> tf.Tensor:
        return tf.repeat(tf.repeat(values, factor, axis=1), factor, axis=2)

    def hold(x: Images) -> Images:
        x = tf.clip_by_value(x + over_blocks(small - shrink(x, factor)), 0.0, 1.0)
        mean = shrink(x, factor)
        darker = tf.math.divide_no_nan(small, mean)
        lighter = tf.math.divide_no_nan(1 - small, 1 - mean)
        return tf.where(over_blocks(mean > small), x * over_blocks(darker), 1 - (1 - x) * over_blocks(lighter))

    return hold


def _given(net: Any, images: Images, labels: Labels | None) -> tuple[Images, Labels | None]:
    if tf.executing_eagerly():
        images = admit_images(images)
        logits = look_at_outputs(net, images[:_LOOKED_AT])
        if labels is not None:
            images, labels = admit(images, labels, logits.shape[-1])
    return tf.cast(images, tf.float32), None if labels is None else tf.cast(labels, tf.int32)


def _held(chain: Chain, hold: Callable[[Images], Images]) -> Walk:
    """The chain's walk, each step ending in `hold`; not for a memory that has images of its own."""
    patience = getattr(chain, "patience", None)
    bare = chain if patience is None else dataclasses.replace(chain, patience=None)  # type: ignore[call-arg]
    walk = bare.walk()

    def begin(energy_fn: EnergyFn, x: Images) -> Memory:
        memory = walk.begin(energy_fn, x)
        if isinstance(memory, Acceptance):
            raise ValueError(
                "expected a chain that continues from the images it is given, received a Metropolis chain, which goes "
                "by its memory; use SGLD, Momentum or Annealed"
            )
        return memory

    held = projected(Walk(begin, walk.step), hold)
    return held if patience is None else stopping(held, patience)  # by the energy of images that hold the condition


def _mask(known: tf.Tensor, images: Images) -> tf.Tensor:
    if len(images.shape) != 4:
        raise ValueError(f"expected images of shape [B, H, W, C], received shape {list(images.shape)}")
    shapes = [(*images.shape[:3], 1), tuple(images.shape)]
    shape = tuple(np.shape(known))
    if shape not in shapes:
        hint = "; pass np.broadcast_to(mask[..., None], that shape)" if shape == shapes[0][1:3] else ""
        raise ValueError(
            f"expected a mask of shape {' or '.join(str(list(s)) for s in dict.fromkeys(shapes))}, received "
            f"{list(shape)}{hint}"
        )
    if tf.executing_eagerly() and not np.isin(known, (0, 1)).all():
        raise ValueError("expected a mask of True and False or of 0 and 1, received other values")
    return tf.broadcast_to(tf.cast(known, tf.bool), tf.shape(images))
