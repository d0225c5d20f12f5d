"""What `python -m jeat_tf.evaluate` does with its settings, and what it prints."""

import os

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.evaluate.density import asked, measure, summary
from jeat_tf.evaluate.given import check_given
from jeat_tf.evaluate.opened import open_evaluated
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.runs.results import AttackedShard, AttackResults, Subject
from jeat_tf.runs.trained import output_folder


def main(config: EvaluateConfig) -> None:
    """Evaluates the net, and prints the table."""
    others = asked(config)
    if config.attacks == "none" and not others:
        raise ValueError(
            "nothing to measure: --attacks=none, and none of --calibration, --ood, --fisher_images, "
            "--corruptions and --generation"
        )
    check_given(config)
    folder = output_folder(config.model, config.output_dir, "evaluation")
    evaluated = open_evaluated(config) if others and not config.shard else None
    if others and config.shard:
        print(f"{', '.join(others)}: left to the run without --shard, which puts the shards together")
    elif others:  # first, because it refuses what does not fit before attacks take their time
        measured = measure(config, evaluated)
        if config.attacks == "none":
            _print_net(next(iter(measured.values())))
        for name, one in measured.items():
            print("\n".join(summary(one)))
            print(f"written: {os.path.join(folder, name)}.json")
    if config.attacks == "none" and not config.shard:
        return
    report = evaluate(config, evaluated)
    if isinstance(report, AttackedShard):
        first, end = report.images
        print(f"shard {report.shard}: images {first} to {end - 1} in {report.seconds:.0f} s; written: {folder}/state")
    else:
        print_results(report)
        print(f"written: {os.path.join(folder, 'results.json')}")


def print_results(report: AttackResults) -> None:
    """Prints a report as a table, with what its checks warn of."""
    print(f"\n{report.dataset}, {report.images}; {report.norm}")
    print(f"{'attack':24} {'epsilon':>9} {'accuracy':>9}   95% interval      passes per image   seconds")
    for row in report.results:
        low, high = row.interval_95
        cost = ""
        if row.forwards is not None and row.gradients is not None:
            cost = f" {(row.forwards + 2 * row.gradients) / row.images:17.1f} {row.seconds:12.1f}"
        print(f"{row.attack:24} {row.epsilon_text or '':>9} {row.accuracy:9.2%}   {low:6.1%} ..{high:7.1%}{cost}")
    if report.expectation_over_transformation != "none":
        print(report.expectation_over_transformation)
    _print_net(report)
    if audit := report.gradient_masking:
        print(f"gradient masking: {audit.verdict}")
        for finding in audit.findings:
            if finding.fired:
                print(f"  {finding.name}: {finding.detail}")


def _print_net(report: Subject) -> None:
    """Prints what was changed of the net, and what is strange about it."""
    for change in report.changes:
        print(f"net: {change}")
    for finding in report.checks:
        if finding.fired:
            print(f"warning: {finding.name}: {finding.detail}")
