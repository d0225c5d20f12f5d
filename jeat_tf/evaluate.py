"""`python -m jeat_tf.evaluate`: accuracy of a net, clean and under attack, and whether the attacks can be trusted."""

import datetime
import functools
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf import cli
from jeat_tf.artifacts import (
    load_net,
    net_file,
    provenance,
    sha256,
    weights_sha256,
    writable_folder,
    write_arrays,
    write_json,
)
from jeat_tf.attacks import Oracle, inference
from jeat_tf.attacks.ensemble import STANDING, Plan, Standing, autoattack_plan, clean_logits, names_of, run_in_order
from jeat_tf.attacks.named import Named, named
from jeat_tf.attacks.search import predictions
from jeat_tf.config import EvaluateConfig, TrainConfig, check_epsilon, numbers
from jeat_tf.data import LabelledImages
from jeat_tf.evaluation import gradient_masking as masking
from jeat_tf.evaluation import refine, wilson_interval
from jeat_tf.evaluation.stored_standing import StoredStanding
from jeat_tf.measure import asked, labelled, measure, summary
from jeat_tf.models import in_bfloat16
from jeat_tf.norms import Ball, l2, linf
from jeat_tf.trained import check_fit, output_folder, run_config
from jeat_tf.units import fraction_of_255

_LOOKED_AT = 64  # images of the checks that need no gradients
_FAST = "autoattack-fast"


class _Column(NamedTuple):
    """One attack in one ball.

    Attributes:
      name: as on the command line.
      ball: where successes count.
      attack: its runs.
      oracle: the net that is attacked.
      judge: the net that decides; the attacked one but for attacks that do not know of a refinement.
    """

    name: str
    ball: Ball
    attack: Named
    oracle: Oracle
    judge: Oracle

    @property
    def key(self) -> str:
        return f"{self.name.replace(' ', '_')}_{self.ball.name}_{self.ball.epsilon:.6f}"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Attacks the net and writes `results.json` and `verdicts.npz`.

    An evaluation that was interrupted goes on where it was: who stands is kept in `state/` until the end.

    Returns:
      results: a row for each attack and epsilon with accuracy, 95% Wilson interval, passes spent and protocol; the
        audit; digests of net and data, settings and provenance.

    Raises:
      ValueError: bad settings, an unknown attack, an unreadable net or data set, a net that does not fit the data or
        gives no logits, or a state of another evaluation.
      FileNotFoundError: the data set is not prepared.
    """
    net_file(config.model)  # before its settings: without a net there is nothing to say about epsilon
    run = run_config(config.model)
    balls = _balls(config, run)
    names = [name.strip() for name in config.attacks.split(",") if name.strip()]
    for name in names:
        if name != "clean":
            named(name, balls[0])
    _check(config, names)
    net, data = load_net(config.model), labelled(config, run)
    check_fit(net, data.name, data.image_shape, data.num_classes)
    plain_net = load_net(config.audit.transfer_from) if config.audit.transfer_from else None
    folder = writable_folder(output_folder(config.model, config.output_dir, "evaluation"), "output_dir")
    state = os.path.join(folder, "state")
    if not config.resume and os.path.isdir(state):
        shutil.rmtree(state)

    jit = {"auto": bool(tf.config.list_physical_devices("GPU")), "true": True, "false": False}[config.jit_compile]
    plain = Oracle(
        inference(net),
        coarse_fn=inference(in_bfloat16(net)) if config.gradients == "bfloat16" else None,
        jit_compile=jit,
    )
    logits = functools.cache(lambda oracle: clean_logits(oracle, data.images, data.labels, config.batch_size))
    logits(plain)  # refuses what are not logits, before anything is made of them
    shown, labels = data.images[:_LOOKED_AT], data.labels[:_LOOKED_AT]
    checks = [
        masking.is_random(plain, shown),
        masking.depends_on_batch(plain, shown),
        masking.normalised_outside(plain, shown, labels),
    ]
    oracle = plain
    if checks[0].fired or config.audit.refine_steps:
        oracle = _averaged(config, net, jit)
    predicted = logits(oracle).argmax(-1)
    correct = predicted == data.labels
    audit = None
    if names != ["clean"] and config.audit.audit_images and correct.any():
        audit = _audit(config, oracle, data, correct, balls[0], plain_net and Oracle(inference(plain_net)))
    suspected = audit is not None and any(finding.fired for finding in audit)

    identity = {
        "weights_sha256": weights_sha256(net),
        "data_sha256": data.sha256(),
        "seed": config.seed,
        "batch_size": config.batch_size,
        "gradients": config.gradients,
        "samples": oracle.samples,
        "refine_steps": config.audit.refine_steps,
        "refine_step_size": config.audit.refine_step_size if config.audit.refine_steps else None,
        "refine_noise_std": config.audit.refine_noise_std if config.audit.refine_steps else None,
        "model_sha256": sha256(net_file(config.model)),
    }
    rows: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {"labels": data.labels, "predicted": predicted}
    if "clean" in names:
        rows.append({"attack": "clean", "epsilon": 0.0, **_share(correct), "protocol": "images as they are"})
    worst = {ball.epsilon: correct.copy() for ball in balls}
    blind = plain if config.audit.refine_steps else None
    for column in _columns(names, balls, oracle, blind, suspected):
        row, found = _attacked(config, column, data, logits(column.oracle), state, identity)
        rows.append(row)
        arrays |= {f"{column.key}_{field}": values for field, values in found.items()}
        if column.attack.in_ball:
            worst[column.ball.epsilon] &= found["correct"]
    attacked = {row["epsilon"] for row in rows if row["attack"] != "clean" and row.get("in_ball")}
    for epsilon, standing in worst.items():
        if epsilon in attacked:
            rows.append({"attack": "worst case", "epsilon": epsilon, **_share(standing), "protocol": "all rows above"})

    report = {
        "model": net_file(config.model),
        **identity,
        "dataset": data.name,
        "images": data.origin,
        "norm": config.norm,
        "expectation_over_transformation": _averaging(config, checks[0].fired, oracle.samples),
        "results": rows,
        "checks": [finding._asdict() for finding in checks],
        "gradient_masking": None if audit is None else masking.report(audit),
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    }
    write_arrays(os.path.join(folder, "verdicts.npz"), **arrays)
    write_json(os.path.join(folder, "results.json"), report)
    if os.path.isdir(state):
        shutil.rmtree(state)
    return report


def _balls(config: EvaluateConfig, run: TrainConfig | None) -> list[Ball]:
    """The balls, the largest first."""
    radii = numbers(config.epsilon) or ((run.method.epsilon,) if run and config.norm == "linf" else ())
    if not radii:
        known = "an l2 radius has no default" if run else "the net comes without the settings of a run"
        raise ValueError(f"expected --epsilon, e.g. {'8/255' if config.norm == 'linf' else '0.5'}: {known}")
    for radius in radii:
        if config.norm == "linf":
            check_epsilon(radius)
        if not 0 < radius < float("inf"):
            raise ValueError(f"expected epsilon > 0, received {radius:g}")
    make = linf if config.norm == "linf" else l2
    return [make(radius) for radius in sorted(set(radii), reverse=True)]


def _check(config: EvaluateConfig, names: list[str]) -> None:
    if not names:
        raise ValueError("expected --attacks, received none; e.g. --attacks=clean,pgd20,autoattack")
    for flag, value, least in (
        ("batch_size", config.batch_size, 1),
        ("num_images", config.num_images, 0),
        ("audit_images", config.audit.audit_images, 0),
        ("refine_steps", config.audit.refine_steps, 0),
        ("eot_samples", config.audit.eot_samples, 1),
    ):
        if value < least:
            raise ValueError(f"expected --{flag} >= {least}, received {value}")


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
) -> list[masking.Finding]:
    chosen = np.flatnonzero(correct)[: config.audit.audit_images]
    with tqdm(desc="audit", bar_format="{desc} {elapsed} {postfix}") as bar:
        return masking.gradient_masking(
            oracle,
            data.images[chosen],
            data.labels[chosen],
            ball=ball,
            seed=tf.constant([config.seed, 7]),
            plain_net=plain_net,
            progress=bar.set_postfix_str,
        )


def _columns(
    names: list[str], balls: list[Ball], oracle: Oracle, blind: Oracle | None, suspected: bool
) -> Iterator[_Column]:
    """The attacks in every ball; those of the least distance once."""
    for i, ball in enumerate(balls):
        for name in names:
            if name == "clean":
                continue
            attack = named(name, ball)
            if name == _FAST and suspected:
                attack = _escalated(attack, ball)
            if i and not attack.in_ball:
                continue
            yield _Column(name, ball, attack, oracle, oracle)
            if blind is not None:
                yield _Column(f"{name} on the net alone", ball, attack, blind, oracle)


def _escalated(attack: Named, ball: Ball) -> Named:
    more = autoattack_plan(["fab-t", "square"], ball)
    return Named(
        Plan(attack.plan.runs + more.runs, attack.plan.order),
        f"{attack.protocol}; then fab-t and square, because the audit found signs of gradient masking",
    )


def _attacked(
    config: EvaluateConfig,
    column: _Column,
    data: LabelledImages,
    logits: np.ndarray,
    state: str,
    identity: dict[str, Any],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The row of a column, and its arrays with one entry for each image."""
    plan, protocol, in_ball = column.attack
    blind = column.judge is not column.oracle
    kept = data.images[:] if config.save_adversarial or blind else None
    correct = logits.argmax(-1) == data.labels
    stored = StoredStanding(
        os.path.join(state, f"{column.key}.npz"),
        Standing(correct, kept),
        identity | {"attack": column.name, "norm": column.ball.name, "epsilon": column.ball.epsilon, "plan": protocol},
    )
    standing = stored.standing
    runs = run_in_order(
        column.oracle,
        plan,
        data.images,
        data.labels,
        logits,
        standing,
        seed=tf.constant([config.seed, 5]),
        batch_size=config.batch_size,
    )
    total = sum(run.passes for run in plan.runs)
    radius = f" {fraction_of_255(column.ball.epsilon)}" if in_ball else ""
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    started = time.monotonic()
    with tqdm(total=total * len(correct), desc=f"{column.name}{radius}", bar_format=bar_format) as bar:
        for _ in runs:
            bar.n = _progress(plan, standing, total, config.batch_size)
            bar.set_postfix_str(f"{np.mean(standing.broken_by == STANDING):.1%} stand", refresh=False)
            bar.refresh()
            stored.save(time.monotonic() - started)
        bar.n = bar.total
        bar.refresh()
    seconds = stored.finish(time.monotonic() - started)

    broken_by = names_of(standing, plan)
    found = {"correct": standing.broken_by == STANDING}
    if blind:
        assert standing.x_adv is not None
        batches = np.array_split(standing.x_adv, -(-len(correct) // config.batch_size))
        found["correct"] = np.concatenate([predictions(column.judge, x).argmax(-1) for x in batches]) == data.labels
    found |= {"broken_by": broken_by, "distance": standing.distance}
    found |= {"forwards": standing.forwards, "gradients": standing.gradients}
    if config.save_adversarial and standing.x_adv is not None:
        found["x_adv"] = standing.x_adv
    success = standing.broken_by >= 0
    row = {
        "attack": column.name,
        "epsilon": column.ball.epsilon if in_ball else None,
        "epsilon_text": fraction_of_255(column.ball.epsilon) if in_ball else "no bound",
        "in_ball": in_ball,
        **_share(found["correct"]),
        "broken_by": {name: int(np.sum(broken_by == name)) for name in dict.fromkeys(broken_by) if name},
        "largest_distance": float(standing.distance.max()),
        "median_distance": float(np.median(standing.distance[success])) if success.any() else None,
        "forwards": int(standing.forwards.sum()),
        "gradients": int(standing.gradients.sum()),
        "seconds": round(seconds, 2),
        "protocol": protocol,
    }
    return row, found


def _progress(plan: Plan, standing: Standing, total: int, batch_size: int) -> int:
    """Passes that are done or that broken images no longer need."""
    left = int(np.sum(standing.broken_by == STANDING))
    finished = sum(run.passes for run in plan.runs[: standing.run])
    at_hand = plan.runs[standing.run].passes * min(standing.position * batch_size, left)
    return (len(standing.broken_by) - left) * total + left * finished + at_hand


def _share(correct: np.ndarray) -> dict[str, Any]:
    return {
        "accuracy": float(np.mean(correct)),
        "interval_95": wilson_interval(int(correct.sum()), len(correct)),
        "correct": int(correct.sum()),
        "images": len(correct),
    }


def _averaging(config: EvaluateConfig, is_random: bool, samples: int) -> str:
    reasons = []
    if is_random:
        reasons.append("the net's output is random")
    if config.audit.refine_steps:
        reasons.append(f"inputs are refined by {config.audit.refine_steps} random steps")
    return f"gradients and verdicts are means over {samples} passes: {' and '.join(reasons)}" if reasons else "none"


def _main(config: EvaluateConfig) -> None:
    others = asked(config)
    if config.attacks == "none" and not others:
        raise ValueError(
            "nothing to measure: --attacks=none, and none of --calibration, --ood, --fisher_images and --generation"
        )
    folder = output_folder(config.model, config.output_dir, "evaluation")
    if others:  # first, because it refuses what does not fit before attacks take their time
        for name, report in measure(config).items():
            print("\n".join(summary(name, report)))
            print(f"written: {os.path.join(folder, name)}.json")
    if config.attacks != "none":
        _print(evaluate(config))
        print(f"written: {os.path.join(folder, 'results.json')}")


def _print(report: dict[str, Any]) -> None:
    print(f"\n{report['dataset']}, {report['images']}; {report['norm']}")
    print(f"{'attack':24} {'epsilon':>9} {'accuracy':>9}   95% interval      passes per image   seconds")
    for row in report["results"]:
        low, high = row["interval_95"]
        passes = f"{(row['forwards'] + 2 * row['gradients']) / row['images']:12.1f}" if "forwards" in row else ""
        seconds = f"{row['seconds']:12.1f}" if "seconds" in row else ""
        radius = row.get("epsilon_text", fraction_of_255(row["epsilon"]) if row["epsilon"] else "")
        print(
            f"{row['attack']:24} {radius:>9} {row['accuracy']:9.2%}   {low:6.1%} ..{high:7.1%} {passes:>17} {seconds}"
        )
    if report["expectation_over_transformation"] != "none":
        print(report["expectation_over_transformation"])
    for finding in report["checks"]:
        if finding["fired"]:
            print(f"warning: {finding['name']}: {finding['detail']}")
    audit = report["gradient_masking"]
    if audit:
        print(f"gradient masking: {audit['verdict']}")
        for finding in audit["findings"]:
            if finding["fired"]:
                print(f"  {finding['name']}: {finding['detail']}")


if __name__ == "__main__":
    cli.run(EvaluateConfig, _main)
