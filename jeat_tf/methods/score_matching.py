"""Denoising score matching: a p(x) term that needs no samples of the net's own density."""

from typing import Any

import tensorflow as tf

from jeat_tf.core.energy import energy
from jeat_tf.core.types import Batch, Images, Labels, LossOut, Perturb, Seed
from jeat_tf.methods.objective import Objective, classification_loss


def denoising(
    *,
    noise_std: float,
    widest_noise_std: float | None = None,
    energy_weight: float = 1.0,
    input_noise_std: float = 0.0,
) -> Objective:
    """CE(x) + w J(E), where J matches the score -dE/dx of noisy images (Vincent, 2011, eq. 9).

    One forward and backward pass of noisy images, differentiated once more, beside the pass of the classifier.

    Args:
      noise_std: s, in pixels.
      widest_noise_std: noise of a batch reaches from s to this, see `noise_scales`; None is s for each image.
      energy_weight: w; 0 leaves the classifier.
      input_noise_std: see `Objective`.
    """
    widest = noise_std if widest_noise_std is None else widest_noise_std

    def loss(net: Any, batch: Batch) -> LossOut:
        logits = net(batch.x, training=True)
        classification = classification_loss(logits, batch.labels)
        scales = noise_scales(tf.shape(batch.x)[0], noise_std, widest)
        matching, energies = score_matching(net, batch.x, batch.x_adv, scales, noise_std)
        terms = {
            "cross_entropy": classification,
            "score_matching": tf.reduce_mean(matching),
            "energy_noisy": tf.reduce_mean(energies),
        }
        return LossOut(classification + energy_weight * terms["score_matching"], logits, terms)

    return Objective(
        loss,
        terms=("cross_entropy", "score_matching", "energy_noisy"),
        perturb=_noisy(noise_std, widest),
        input_noise_std=input_noise_std,
    )


def score_matching(
    net: Any, x: Images, x_noisy: Images, scales: tf.Tensor, noise_std: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss float32[B] of each image, and E(x_noisy) float32[B].

    |x - x_noisy + s^2 dE/dx|^2 / (2 t^2), the mean over the numbers of an image; t is the image's own scale and s is
    `noise_std`. Where t = s it is s^2 / 2 times the squared error of the score (Vincent, 2011, eq. 9), and its minimum
    over E is the density of the images smoothed by s. Other scales follow Li et al. (2019), eq. 7, with l = 1 / t^2.

    Args:
      net: images -> logits, called in training mode.
      x: float32[B, H, W, C], images.
      x_noisy: the same with Gaussian noise of deviation t.
      scales: t, float32[B].
      noise_std: s, in pixels.
    """
    with tf.GradientTape() as tape:
        tape.watch(x_noisy)
        energies = energy(net(x_noisy, training=True))
        total = tf.reduce_sum(energies)
    gradient = tape.gradient(total, x_noisy)
    t = scales[:, None, None, None]
    error = (x - x_noisy + noise_std**2 * gradient) / t
    return tf.reduce_mean(error**2, axis=[1, 2, 3]) / 2, energies


def noise_scales(number: tf.Tensor | int, noise_std: float, widest: float) -> tf.Tensor:
    """Deviations float32[number] of the noise of a batch: a geometric sequence over its rows, from s to the widest.

    Batches are shuffled, so that each image meets all scales. A sequence has less variance than draws.
    """
    place = tf.range(number, dtype=tf.float32) / tf.cast(tf.maximum(number - 1, 1), tf.float32)
    return noise_std * (widest / noise_std) ** place


def _noisy(noise_std: float, widest: float) -> Perturb:
    """x + t z, each image by its scale t of the batch; not clipped."""

    def perturb(net: Any, x: Images, labels: Labels, seed: Seed) -> Images:
        del net, labels
        noise = tf.random.stateless_normal(tf.shape(x), seed, alg="philox")
        return x + noise_scales(tf.shape(x)[0], noise_std, widest)[:, None, None, None] * noise

    return perturb
