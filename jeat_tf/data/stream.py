"""Training batches as one endless stream whose order is a function of (seed, step)."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Seed

Augment = Callable[[tf.Tensor, Seed], tf.Tensor]
"""(image float32[H, W, C] in [0, 1], seed) -> image, like it."""


def training_stream(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    augment: Augment | None = None,
    separate_marginal: bool = False,
    augment_marginal: bool = False,
    extra: tuple[np.ndarray, np.ndarray] | None = None,
    extra_share: float = 0.5,
    replays: int = 1,
) -> tf.data.Dataset:
    """Endless batches, shuffled differently in each epoch, from any step on.

    The order of epoch e and the augmentation of its i-th image depend on (seed, e, i) alone, so a run that
    starts at `first_step` sees what an uninterrupted run would have seen.

    Args:
      images: uint8, or float32 in [0, 1], [N, H, W, C], kept in memory.
      labels: int64[N].
      batch_size: images in a batch; the last incomplete batch of an epoch is dropped.
      seed: of order and augmentation.
      first_step: number of batches to pass over.
      augment: applied to each image.
      separate_marginal: pair each batch with a second, independently shuffled one of all images, for p(x): x is then
        the pair (x, x_marginal). Extra images of unknown label are in the second alone.
      augment_marginal: augment the second as the first (JEM); SADA-JEM does not.
      extra: more images and labels (-1 where unknown), shuffled by themselves: the last `extra_share` of each batch.
      extra_share: at least one image of a batch, and not all.
      replays: times each batch is served in a row (Free adversarial training's m).

    Returns:
      dataset: elements (x float32[B, H, W, C] in [0, 1], labels int64[B]).

    Raises:
      ValueError: batch_size is larger than the data set.
    """
    first_batch, replayed = divmod(first_step, replays)
    beside = extra if not (separate_marginal and extra is not None and np.all(extra[1] < 0)) else None
    own = batch_size if beside is None else own_share(batch_size, extra_share)

    def shuffled(
        images: np.ndarray, labels: np.ndarray, size: int, salt: int, augment: Augment | None
    ) -> tf.data.Dataset:
        if size > len(images):
            raise ValueError(f"expected a batch of at most {len(images)} images, the training set, received {size}")
        return _shuffled(
            tf.constant(images),
            tf.constant(labels),
            batch_size=size,
            first_step=first_batch,
            seed=(seed, salt),
            augment=augment,
        )

    batches = shuffled(images, labels, own, 7, augment)
    if beside is not None:
        others = shuffled(*beside, batch_size - own, 9, augment)
        batches = tf.data.Dataset.zip(batches, others).map(
            lambda a, b: tuple(tf.concat(both, axis=0) for both in zip(a, b, strict=True))
        )
    if separate_marginal:
        if extra is not None:
            images, labels = np.concatenate([images, extra[0]]), np.concatenate([labels, extra[1]])
        marginal = shuffled(images, labels, batch_size, 8, augment if augment_marginal else None)
        batches = tf.data.Dataset.zip(batches, marginal).map(lambda a, b: ((a[0], b[0]), a[1]))
    if replays > 1:
        batches = batches.flat_map(lambda *batch: tf.data.Dataset.from_tensors(batch).repeat(replays)).skip(replayed)
    return batches.prefetch(2)


def own_share(batch_size: int, extra_share: float) -> int:
    """How many images of a batch are not from `extra`."""
    return min(batch_size - 1, max(1, round(batch_size * (1 - extra_share))))


def _shuffled(
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    batch_size: int,
    first_step: int,
    seed: tuple[int, int],
    augment: Augment | None,
) -> tf.data.Dataset:
    steps_per_epoch = len(images) // batch_size
    first_epoch, skipped = divmod(first_step, steps_per_epoch)

    def epoch(e: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = fold_in(tf.constant(seed), e)
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), epoch_seed, alg="philox")
        order = tf.reshape(order[: steps_per_epoch * batch_size], [steps_per_epoch, batch_size])

        def batch(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x = _scaled(tf.gather(images, rows))
            if augment is not None:
                x = tf.map_fn(
                    lambda e: augment(e[0], fold_in(epoch_seed, e[1])), (x, rows), fn_output_signature=x.dtype
                )
            return x, tf.gather(labels, rows)

        return tf.data.Dataset.from_tensor_slices(order).map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    return epochs.flat_map(epoch).skip(skipped)


def evaluation_batches(examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches (x float32[B, H, W, C] in [0, 1], labels int64[B]) in order, the last one smaller."""

    def scale(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _scaled(image), label

    return examples.batch(batch_size).map(scale, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)


def _scaled(images: tf.Tensor) -> tf.Tensor:
    """float32 in [0, 1], of uint8 or of such floats."""
    return tf.cast(images, tf.float32) / 255.0 if images.dtype == tf.uint8 else images
