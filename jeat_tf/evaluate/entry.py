"""An evaluation in the form of a RobustBench leaderboard entry."""

import os
from typing import Any

import keras

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import ball_of, epsilon_text
from jeat_tf.core.files import write_json
from jeat_tf.runs.results import AttackResults, AttackRow

_THREATS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def entries_of(report: AttackResults, net: keras.Model, run: TrainConfig | None) -> dict[str, dict[str, Any]]:
    """File name -> entry, one for each ball that AutoAttack's standard version was run in without targets.

    Accuracies are texts in per cent, as RobustBench has them. `external` is the accuracy under all attacks of the
    evaluation, where that is lower than AutoAttack's. `unreliable` is whether the audit or a check of the net
    fired. Fields that the evaluation does not know are null, to be filled in by hand.
    """
    rows = {(row.attack, row.norm, row.epsilon): row for row in report.results}
    clean = rows.get(("clean", None, 0.0))
    entries = {}
    for (attack, norm, epsilon), row in rows.items():
        if attack != "autoattack" or clean is None or norm is None or epsilon is None:
            continue
        worst = rows[("worst case", norm, epsilon)]
        radius = epsilon_text(ball_of(norm, epsilon))
        name = f"entry_{norm}_{radius.replace('/', '_')}.json"
        entries[name] = _entry(report, row, clean, worst, radius, net, run)
    return entries


def write_entries(folder: str, report: AttackResults, net: keras.Model, run: TrainConfig | None) -> None:
    """Writes each entry to a file of its own."""
    for name, entry in entries_of(report, net, run).items():
        write_json(os.path.join(folder, name), entry)


def _entry(
    report: AttackResults,
    row: AttackRow,
    clean: AttackRow,
    worst: AttackRow,
    radius: str,
    net: keras.Model,
    run: TrainConfig | None,
) -> dict[str, Any]:
    fired = [check.name for check in report.checks if check.fired]
    if report.gradient_masking is not None:
        fired += [finding.name for finding in report.gradient_masking.findings if finding.fired]
    notes = [f"{row.images} images ({report.images})"]
    notes += [f"checks fired: {', '.join(fired)}"] if fired else []
    notes += ["no audit of gradients was made"] if report.gradient_masking is None else []
    notes += ["attacked with replaced gradients, refinement or averaged passes"] if report.adaptive else []
    external = {"external": _percent(worst)} if worst.correct < row.correct else {}
    return {
        "link": None,
        "name": None,
        "authors": None,
        "additional_data": None,
        "number_forward_passes": report.samples,
        "dataset": report.dataset,
        "venue": None,
        "architecture": run.net.word if run else net.name,
        "threat_model": _THREATS[row.norm or ""],
        "eps": radius,
        "clean_acc": _percent(clean),
        "reported": None,
        "autoattack_acc": _percent(row),
        **external,
        "footnote": "; ".join(notes),
        "unreliable": bool(fired),
        "measured_with": f"jeat_tf {report.provenance.jeat_tf}",
        "weights_sha256": report.weights_sha256,
        "data_sha256": report.data_sha256,
        "date": report.date,
    }


def _percent(row: AttackRow) -> str:
    return f"{100 * row.accuracy:.2f}"
