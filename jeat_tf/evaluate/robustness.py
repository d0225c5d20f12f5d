"""`python -m jeat_tf.evaluate`: accuracy of a net, clean and under attack, and whether the attacks can be trusted."""

import functools
import itertools
import json
import os
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.attacks import gradient_masking as masking
from jeat_tf.attacks.bpda import bpda, parse
from jeat_tf.attacks.ensemble import Standing, clean_logits
from jeat_tf.attacks.misfits import misfits
from jeat_tf.attacks.named import Named, named
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.plans import fitting
from jeat_tf.attacks.surrogates import inference
from jeat_tf.attacks.targeted import toward
from jeat_tf.config import build
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core import records
from jeat_tf.core.balls import Ball
from jeat_tf.core.files import own_folder, remove_partial, writable_folder, write_arrays
from jeat_tf.core.flat import flatten, replace
from jeat_tf.data.labelled import LabelledImages
from jeat_tf.evaluate.attack_rows import Column, attack, columns, merged, results_of
from jeat_tf.evaluate.classes import by_class
from jeat_tf.evaluate.distances import Distances, curves_of, draw_curves
from jeat_tf.evaluate.entry import write_entries
from jeat_tf.evaluate.opened import Evaluated, open_evaluated
from jeat_tf.evaluate.threats import attack_names, balls_of, worst_rows
from jeat_tf.metrics.intervals import accuracy_of
from jeat_tf.models.files import net_file
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.runs.locks import Hold, held
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.results import ATTACKS, AttackedShard, AttackResults, AttackRow, AttackSettings, Curve
from jeat_tf.runs.second_nets import Opened, open_second
from jeat_tf.runs.trained import output_folder, run_config
from jeat_tf.runs.verdict_parts import begin_shard, end_shard, forget, shards_in
from jeat_tf.samplers.refinement import refine

_LOOKED_AT = 64  # images of the checks that need no gradients
# In all processes that work on one evaluation.
_SAME = ("model_sha256", "weights_sha256", "changes", "data_sha256", "seed")


def evaluate(config: EvaluateConfig, evaluated: Evaluated | None = None) -> AttackResults | AttackedShard:
    """Attacks the net and writes `results.json` and `verdicts.npz`.

    An interrupted evaluation resumes where it stopped: which images are unbroken is kept in `state/` until the end.
    With `shard`, only the images of that part are attacked, with the same verdicts as in an evaluation of all. Its part
    of `state/` takes the place of the two files, and a run without `shard` makes them once all parts exist.

    Args:
      config: settings of the verb.
      evaluated: net and images, where they were read before.

    Returns:
      results: what `results.json` holds; of a shard, what it took.

    Raises:
      ValueError: bad settings, an unknown attack, an unreadable net or data set, a net that does not fit the data or
        gives no logits, a state of another evaluation, or shards that are missing or have not ended.
      FileNotFoundError: the data set is not prepared.
    """
    net_file(config.model)  # before its settings: without a net there is nothing to say about epsilon
    names, balls = attack_names(config), balls_of(config, run_config(config.model))
    evaluated = evaluated or open_evaluated(config)
    data = evaluated.data
    for name, ball in itertools.product(names, balls):
        if name != "clean":
            fitting(named(name, ball).plan, data.image_shape)
    transfer = None
    if config.audit.transfer_from:
        transfer = open_second(config.audit.transfer_from, "transfer_from", data, data.images, data.labels)
    folder = writable_folder(output_folder(config.model, config.output_dir, "evaluation"), "output_dir")
    with held(folder, "jeat_tf.evaluate", shard=config.shard) as hold:
        return _evaluated(config, folder, hold, names, balls, evaluated, transfer)


def _evaluated(
    config: EvaluateConfig,
    folder: str,
    hold: Hold,
    names: list[str],
    balls: list[Ball],
    evaluated: Evaluated,
    transfer: Opened | None,
) -> AttackResults | AttackedShard:
    net, data, subject = evaluated.read.net, evaluated.data, evaluated.subject
    state = own_folder(os.path.join(folder, "state"), make=False)
    if os.path.isdir(state):
        remove_partial(state)
    if not config.resume:
        forget(state, config.shard)
    shards = [config.shard] if config.shard else shards_in(state) or [""]
    part = part_of(config.shard, len(data.labels), "images")
    if config.shard:
        asked = flatten(replace(config, shard=""), identity=True) | {"data_sha256": subject.data_sha256}
        begin_shard(
            state, json.loads(json.dumps(asked | {"weights_sha256": subject.weights_sha256})), others=hold.others
        )
        hold.begun()

    jit = build.compiles(config.jit_compile)
    plain = Oracle(
        inference(net),
        coarse_fn=inference(in_bfloat16(net)) if config.gradients == "bfloat16" else None,
        jit_compile=jit,
    )
    attacked_net = net
    if config.audit.bpda:
        if config.gradients == "bfloat16":
            raise ValueError("expected --gradients=float32 with --bpda, received bfloat16")
        attacked_net = bpda(net, parse(config.audit.bpda))
        plain = Oracle(inference(attacked_net), jit_compile=jit)
    logits = functools.cache(lambda oracle: clean_logits(oracle, data.images, data.labels, config.batch_size))
    logits(plain)  # refuses what are not logits, before anything is made of them
    shown = data.images[:_LOOKED_AT]
    checks = [
        masking.is_random(plain, shown),
        masking.depends_on_batch(plain, shown),
        *misfits(plain, data.images, data.labels),
        masking.layers_without_gradient(attacked_net, shown),
    ]
    oracle = plain
    if checks[0].fired or config.audit.refine_steps:
        oracle = _averaged(config, attacked_net, jit)
    correct, num_classes = logits(oracle).argmax(-1) == data.labels, logits(oracle).shape[-1]
    audit = None
    if names != ["clean"] and config.audit.audit_images and correct.any():
        audit = _audit(config, oracle, data, correct, balls[0], transfer and Oracle(inference(transfer.net)))
    suspected = audit is not None and audit.verdict == "suspected"

    settings = AttackSettings(
        batch_size=config.batch_size,
        gradients=config.gradients,
        samples=oracle.samples,
        refine_steps=config.audit.refine_steps,
        refine_step_size=config.audit.refine_step_size if config.audit.refine_steps else None,
        refine_noise_std=config.audit.refine_noise_std if config.audit.refine_steps else None,
        bpda=config.audit.bpda or None,
    )
    identity = records.plain(settings) | {name: records.plain(getattr(subject, name)) for name in _SAME}
    blind = plain if config.audit.refine_steps else None
    chosen = list(columns(names, balls, oracle, blind, suspected, data.image_shape, _turned(config, num_classes)))
    attacked = [(c, *attack(config, c, data, logits(c.oracle), state, identity, shards)) for c in chosen]
    if config.shard:
        end_shard(state, config.shard, identity | {"attacks": {c.key: c.attack.protocol for c in chosen}})
        seconds = sum(spent for _, _, spent in attacked)
        return AttackedShard(shard=config.shard, images=(part.start, part.stop), seconds=round(seconds, 2))

    rows, arrays, curves = _tabulated(config, names, balls, data.labels, oracle, logits, attacked)
    report = AttackResults(
        **vars(subject) | vars(settings) | {"checks": tuple(checks)},
        norm=config.norm,
        targets=config.targets,
        adaptive=bool(config.audit.bpda or config.audit.refine_steps or checks[0].fired),
        expectation_over_transformation=_averaging(config, checks[0].fired, oracle.samples),
        shards=len(shards),
        results=tuple(rows),
        gradient_masking=audit,
        transfer_net=transfer and transfer.found,
        curves=curves,
    )
    draw_curves(folder, curves)
    write_entries(folder, report, net, evaluated.run)
    write_arrays(os.path.join(folder, "verdicts.npz"), **arrays)
    records.write_record(os.path.join(folder, ATTACKS), report)
    forget(state)
    return report


def _tabulated(
    config: EvaluateConfig,
    names: list[str],
    balls: list[Ball],
    labels: np.ndarray,
    oracle: Oracle,
    logits: Callable[[Oracle], np.ndarray],
    attacked: list[tuple[Column, Standing, float]],
) -> tuple[list[AttackRow], dict[str, np.ndarray], tuple[Curve, ...]]:
    """The rows of `results.json`, the arrays of `verdicts.npz`, and accuracy over epsilon.

    Args:
      config: settings of the verb.
      names: of attacks, as on the command line.
      balls: where successes count.
      labels: int[N].
      oracle: the net on clean images.
      logits: a net -> its float32[N, K] of the clean images.
      attacked: each attack, what it did to the images, and its seconds.
    """
    predicted, num_classes = logits(oracle).argmax(-1), logits(oracle).shape[-1]
    correct = predicted == labels
    rows: list[AttackRow] = []
    arrays: dict[str, np.ndarray] = {"labels": labels, "predicted": predicted}
    if "clean" in names:
        row = AttackRow(
            attack="clean",
            epsilon=0.0,
            protocol="images as they are",
            **accuracy_of(correct),
            **by_class(labels, correct, predicted, num_classes),
        )
        rows.append(row)
    worst: dict[Ball, np.ndarray] = {}
    nearest: dict[str, Distances] = {}
    for _, group in itertools.groupby(attacked, key=lambda each: (each[0].name, each[0].ball)):
        parts = []
        for column, standing, seconds in group:
            row, found = results_of(config, column, labels, logits(column.judge), standing, seconds)
            arrays |= {f"{column.key}_{field}": values for field, values in found.items()}
            parts.append((row, found))
        if column.shift is not None:
            row, found = merged([row for row, _ in parts], [found for _, found in parts], labels)
        rows.append(row)
        if column.attack.in_ball:
            worst[column.ball] = worst.get(column.ball, correct) & found["correct"]
        elif column.shift is None:
            norm = column.attack.ball.norm
            nearest[f"{column.name} {norm}"] = Distances(norm, correct, found["success"], standing.distance)
    for each in nearest.values():
        for ball in (ball for ball in balls if ball.norm == each.norm):
            worst[ball] = worst.get(ball, correct) & each.unbroken(ball.epsilon)
    rows += worst_rows({ball: worst[ball] for ball in balls if ball in worst}, labels, num_classes)
    return rows, arrays, curves_of(nearest)


def _turned(config: EvaluateConfig, num_classes: int) -> Callable[[Named], Sequence[Named]]:
    """An attack -> the same to each target that the settings ask for."""
    if config.targets == "none":
        return lambda attack: (attack,)
    return lambda attack: toward(attack, config.targets, num_classes, config.seed)


def _averaged(config: EvaluateConfig, net: keras.Model, jit_compile: bool) -> Oracle:
    """The net, refined if that is asked for, with gradients and verdicts that are means over passes."""
    audit = config.audit
    logits_fn = refine(
        net,
        num_steps=audit.refine_steps,
        step_size=audit.refine_step_size,
        noise_std=audit.refine_noise_std,
        seed=config.seed,
    )
    return Oracle(logits_fn, samples=audit.eot_samples, jit_compile=jit_compile)


def _audit(
    config: EvaluateConfig,
    oracle: Oracle,
    data: LabelledImages,
    correct: np.ndarray,
    ball: Ball,
    plain_net: Oracle | None,
) -> masking.Masking:
    chosen = np.flatnonzero(correct)
    few = min(config.audit.audit_images, len(chosen))
    chosen = chosen[np.linspace(0, len(chosen) - 1, few).astype(int)]  # a file's images may lie class by class
    with tqdm(desc="audit", bar_format="{desc} {elapsed} {postfix}", disable=None) as bar:
        return masking.gradient_masking(
            oracle,
            data.images[chosen],
            data.labels[chosen],
            ball=ball,
            seed=tf.constant([config.seed, 7]),
            plain_net=plain_net,
            progress=bar.set_postfix_str,
        )


def _averaging(config: EvaluateConfig, is_random: bool, samples: int) -> str:
    reasons = []
    if is_random:
        reasons.append("the net's output is random")
    if config.audit.refine_steps:
        reasons.append(f"inputs are refined by {config.audit.refine_steps} random steps")
    return f"gradients and verdicts are means over {samples} passes: {' and '.join(reasons)}" if reasons else "none"
