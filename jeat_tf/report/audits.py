"""Where the numbers come from, and reasons to doubt them: audits of attacks, the guard, the files' provenance."""

from typing import NamedTuple

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import differences
from jeat_tf.report.collect import Measurement, Run
from jeat_tf.report.measures import Column, hardware_text, measured
from jeat_tf.report.summary import Mean, status
from jeat_tf.report.tables import number_text
from jeat_tf.runs.results import AttackResults
from jeat_tf.runs.training import FILE, Training

_NOT_RECORDED = "not recorded"
_FACTS = {
    "seed": "seed",
    "date": "date",
    "net": "model",
    "SHA-256 of the net's file": "model_sha256",
    "SHA-256 of the weights": "weights_sha256",
    "images": "images",
    "SHA-256 of the data": "data_sha256",
}
_VERSIONS = ("jeat_tf", "tensorflow", "keras", "python")


class Audit(NamedTuple):
    """Sentences about what was checked in a run: whether gradients are masked, the net's output, the guard."""

    run: str
    masking: str
    checks: str
    guard: str


class RunFacts(NamedTuple):
    """All that is known of a run.

    Attributes:
      name: of its folder.
      seed: of its training.
      status: "finished", or why not.
      settings: those that are not the defaults.
      numbers: title, text, note and file of every number.
      files: what each file says of its origin, as pairs of a label and a text.
    """

    name: str
    seed: int
    status: str
    settings: str
    numbers: list[tuple[str, str, str, str]]
    files: list[tuple[str, list[tuple[str, str]]]]


def audit(run: Run) -> Audit:
    """What the attacks' audit, the checks of the net's output and the guard have found."""
    attacked = [report for report in run.reports.values() if isinstance(report, AttackResults)]
    fired = [f"{check.name}: {check.detail}" for report in attacked for check in report.checks if check.fired]
    masking = [
        "; ".join([found.verdict, *(f"{one.name} ({one.detail})" for one in found.findings if one.fired)])
        for report in attacked
        if (found := report.gradient_masking)
    ]
    masking += [
        f"attacks were transferred from a net that is right on {other.accuracy:.1%} of {other.images} images"
        for report in attacked
        if (other := report.transfer_net)
    ]
    events = [
        f"step {event.step}: {event.reason}; " + ("stopped" if event.is_stop else f"back to step {event.restored_step}")
        for event in run.guard
    ]
    return Audit(
        run.name,
        "; ".join(masking) or "not measured",
        "; ".join(fired) or ("none fired" if attacked else "not measured"),
        "; ".join(events) or ("no event" if run.finished else "no event recorded"),
    )


def run_facts(run: Run) -> RunFacts:
    """Every number of a run with its file, and where each file says it is from."""
    trained: dict[str, Measurement | Training] = {FILE: run.training} if run.training else {}
    return RunFacts(
        run.name,
        run.config.run.seed,
        status(run),
        ", ".join(_setting(change) for change in differences(TrainConfig(), run.config)) or "the defaults",
        [
            (
                f"{v.column.title}: {v.control}" if v.control else v.column.title,
                _number(v.column, v.number),
                "; ".join(filter(None, [v.note, v.how])),
                v.file,
            )
            for v in measured(run)
        ],
        [(file, _origin(report)) for file, report in (trained | run.reports).items()],
    )


def _setting(change: str) -> str:
    name, _, values = change.partition(": ")
    return f"{name}={values.rpartition(' -> ')[2]}"


def _number(column: Column, number: float) -> str:
    return number_text(Mean(number, None, {}), column)


def _origin(report: Measurement | Training) -> list[tuple[str, str]]:
    made = report.provenance
    facts = [("command", made.command)]
    for label, name in _FACTS.items():
        value = getattr(report, name, None)
        if value is not None or label == "seed":
            facts.append((label, _NOT_RECORDED if value is None else str(value)))
    facts.append(("versions", ", ".join(f"{name} {getattr(made, name)}" for name in _VERSIONS)))
    facts.append(("hardware", hardware_text(made)))
    return facts
