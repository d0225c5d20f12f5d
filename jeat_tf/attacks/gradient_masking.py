"""Signs that an attack fails for another reason than robustness.

After Athalye et al., 2018 (https://arxiv.org/abs/1802.00420), Carlini et al., 2019 (https://arxiv.org/abs/1902.06705)
and the checks of AutoAttack, and some more: AutoAttack's stay silent on nets whose true accuracy is far below its own.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf.attacks import losses
from jeat_tf.attacks.bpda import silent_layers
from jeat_tf.attacks.oracle import LogitsLoss, Oracle
from jeat_tf.attacks.search import Search, gradients, predictions
from jeat_tf.attacks.square import fits, square
from jeat_tf.attacks.steps import pgd_search
from jeat_tf.core.balls import L1, L2, Ball, Linf
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Seed

_STEPS = 40
_FEW_STEPS = 10
_RESTARTS = 2  # beside the first run
_QUERIES = 300
_SHARE = 0.1  # of the images: what a difference between two attacks has to exceed, and at least _COUNT
_COUNT = 3
_ZERO_SHARE = 0.05
_UNBROKEN_SHARE = 0.1  # of the images at an epsilon that allows any image
_LEAST_COSINE = 0.05
_SAME = 1e-4  # logits of the same input, relative to the largest: rounding and no more


class Finding(NamedTuple):
    """One check.

    Attributes:
      name: of the check.
      fired: the check found what it looks for.
      detail: description of what was measured.
    """

    name: str
    fired: bool
    detail: str


class Masking(NamedTuple):
    """What the checks say together.

    Attributes:
      verdict: "suspected" if one of them fired.
      findings: all of them.
    """

    verdict: Literal["suspected", "none found"]
    findings: tuple[Finding, ...]


def is_random(oracle: Oracle, x: np.ndarray) -> Finding:
    """Whether the same images twice give different logits: dropout or noise at inference time."""
    first, second = predictions(oracle, x), predictions(oracle, x)
    change = _change(first, second)
    return Finding("randomised output", change > _SAME, f"the same input twice changes logits by {change:.2g}")


def depends_on_batch(oracle: Oracle, x: np.ndarray) -> Finding:
    """Whether an image's logits depend on the images beside it: batch statistics left in training mode."""
    together = predictions(oracle, x)[:1]
    change = _change(predictions(oracle, x[:1]), together)
    return Finding("batch-dependent output", change > 1e-3, f"an image alone changes its logits by {change:.2g}")


def layers_without_gradient(net: Any, x: np.ndarray) -> Finding:
    """Whether layers pass next to no gradient on, so that attacks need BPDA; see `bpda.silent_layers`."""
    found = silent_layers(net, x)
    detail = ", ".join(f"{share:.0%} of the gradient of {name} is 0" for name, share in found.items())
    if found:
        detail += f"; attack with --bpda={','.join(f'{name}:identity' for name in found)}"
    return Finding("layers without gradient", bool(found), detail or "none")


def gradient_masking(
    oracle: Oracle,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    ball: Ball,
    seed: Seed,
    plain_net: Oracle | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Masking:
    """Compares attacks that should be ordered, on images that are classified correctly.

    Args:
      oracle: the net; one that averages samples if its output is random.
      x: float32[N, H, W, C] in [0, 1]; tens of images are enough.
      labels: int[N], what the net predicts for x.
      ball: the ball that robustness is claimed in.
      seed: int32[2].
      plain_net: another net for the same images, to transfer attacks from.
      progress: called with the name of each check before it runs.
    """

    def broken(name: str, search: Search, run: int = 0) -> np.ndarray:
        progress(name)
        return search(oracle, x, labels, seed=fold_in(tf.constant(seed), run)).broken

    def ascent(loss: LogitsLoss = losses.cross_entropy, within: Ball = ball, steps: int = _STEPS) -> Search:
        return functools.partial(
            pgd_search, ball=within, loss=loss, step_size=2.5 * within.epsilon / steps, num_steps=steps
        )

    one_step = functools.partial(pgd_search, ball=ball, step_size=ball.epsilon, num_steps=1, random_start=False)
    cosine, zero, zero_margin = _gradients(oracle, x, labels, ball, seed)
    first = broken("steps", ascent())
    few = broken("fewer steps", ascent(steps=_FEW_STEPS))
    single = broken("one step", one_step)
    margin = broken("margin loss", ascent(losses.margin))
    double = broken("twice the epsilon", ascent(within=_scaled(ball, 2.0)))
    huge = broken("any image", ascent(losses.margin, within=_everything(ball, x.shape[1:])))
    again = first.copy()
    for run in range(1, 1 + _RESTARTS):
        again |= broken("restarts", ascent(), run)
    white = again | margin
    black, asked = np.zeros(len(x), bool), "no queries, for which images are too small,"
    if fits(ball, x.shape[1:]):
        black = broken("queries", functools.partial(square, ball=ball, num_queries=_QUERIES))
        asked = f"{_QUERIES} queries without gradients"

    def exceeds(stronger: np.ndarray, weaker: np.ndarray) -> bool:
        return bool(stronger.sum() - weaker.sum() > max(_COUNT, _SHARE * len(x)))

    def versus(a: str, first: np.ndarray, b: str, second: np.ndarray) -> str:
        return f"of {len(x)} images {a} breaks {first.sum()}, {b} {second.sum()}"

    steps = f"PGD-{_STEPS}"
    findings = [
        Finding(
            "zero gradients",
            max(zero, zero_margin) > _ZERO_SHARE,
            f"{zero:.0%} of the images have a cross-entropy gradient of 0, {zero_margin:.0%} a margin gradient of 0",
        ),
        Finding(
            "vanishing gradients",
            exceeds(margin, first),
            versus(f"{steps} on the margin", margin, "on the cross-entropy", first),
        ),
        Finding("more steps are worse", exceeds(few, first), versus(f"PGD-{_FEW_STEPS}", few, steps, first)),
        Finding("one step is better", exceeds(single, first), versus("one step", single, steps, first)),
        Finding(
            "restarts matter",
            exceeds(again, first),
            versus(f"{steps} with {_RESTARTS} restarts", again, "without", first),
        ),
        Finding("larger epsilon is worse", exceeds(first, double), versus(steps, first, "at twice epsilon", double)),
        Finding(
            "robust to anything",
            float(np.mean(~huge)) > _UNBROKEN_SHARE,
            f"{np.mean(~huge):.0%} of the images are unbroken where any image in [0, 1] is allowed",
        ),
        Finding(
            "black box beats gradients",
            exceeds(black | white, white),
            versus(f"{asked} or gradients", black | white, "gradients alone", white),
        ),
        Finding(
            "rough landscape",
            cosine < _LEAST_COSINE,
            f"mean cosine of gradients at x and at x plus noise of epsilon / 10: {cosine:.2f}",
        ),
    ]
    if plain_net is not None:
        progress("transfer")
        x_adv = ascent()(plain_net, x, labels, seed=seed).x_adv
        moved = predictions(oracle, x_adv).argmax(-1) != labels
        findings.append(
            Finding(
                "transfer beats gradients",
                exceeds(moved | white, white),
                versus("transfer from a plain net or gradients", moved | white, "gradients alone", white),
            )
        )
    return Masking("suspected" if any(one.fired for one in findings) else "none found", tuple(findings))


def _gradients(oracle: Oracle, x: np.ndarray, labels: np.ndarray, ball: Ball, seed: Seed) -> tuple[float, float, float]:
    """Mean cosine between gradients of the margin near x, share of zero gradients of cross-entropy and of margin."""

    def at(loss: LogitsLoss, images: np.ndarray) -> np.ndarray:
        return gradients(oracle, loss, images, labels).reshape(len(x), -1)

    noise = (ball.random_start(tf.constant(x), tf.constant(seed)) - x) / 10
    here, there = at(losses.margin, x), at(losses.margin, np.clip(x + noise, 0, 1).astype(np.float32))
    lengths = np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1)
    cosine = np.where(lengths > 0, (here * there).sum(axis=1) / np.maximum(lengths, 1e-30), 0.0)
    zero = float(np.mean(~at(losses.cross_entropy, x).any(axis=1)))
    return float(cosine.mean()), zero, float(np.mean(~here.any(axis=1)))


def _scaled(ball: Ball, factor: float) -> Ball:
    return Linf(min(factor * ball.epsilon, 1.0)) if ball.norm == "linf" else ball.scaled(factor)


def _everything(ball: Ball, image_shape: tuple[int, ...]) -> Ball:
    pixels = float(np.prod(image_shape))
    return {"linf": Linf(1.0), "l2": L2(pixels**0.5), "l1": L1(pixels)}[ball.norm]


def _change(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
