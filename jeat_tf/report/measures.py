"""What a run's files measure: numbers, each in a column that says what makes it comparable with another one."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jeat_tf.core.balls import Ball, ball_of, epsilon_text
from jeat_tf.core.provenance import Provenance
from jeat_tf.metrics.features import score_names
from jeat_tf.report.collect import Run
from jeat_tf.runs.corruption_results import CorruptionResults, errors_of
from jeat_tf.runs.generation_results import GenerationResults, ImageScores
from jeat_tf.runs.results import AttackResults, AttackRow, CalibrationResults, FisherResults, OodResults, Subject
from jeat_tf.runs.sample_results import Rating, SampleResults
from jeat_tf.runs.training import FILE, Training

ACCURACY, GENERATED, CALIBRATION, CORRUPTED_IMAGES, OTHER_IMAGES, FISHER, COST = (
    "Accuracy, %", "Generated images", "Calibration", "Common corruptions", "Detection of other images, AUROC",
    "Fisher terms, [0, 1] pixels", "Cost of training",
)  # fmt: skip
GROUPS = {
    ACCURACY: "python -m jeat_tf.evaluate --attacks=...",
    GENERATED: "python -m jeat_tf.sample --judge=..., python -m jeat_tf.evaluate --generation=... --features=...",
    CALIBRATION: "python -m jeat_tf.evaluate --calibration",
    CORRUPTED_IMAGES: "python -m jeat_tf.evaluate --corruptions=...",
    OTHER_IMAGES: "python -m jeat_tf.evaluate --ood=...",
    FISHER: "python -m jeat_tf.evaluate --fisher_images=...",
    COST: "python -m jeat_tf.train",
}
"""Groups of columns, in order, and what measures them."""

_REAL = "real_images"  # a set of `evaluate --generation` that is no net's
_USUAL = ("", "evaluation", "samples")  # folders of a run that `train`, `evaluate` and `sample` write to unasked
_RATINGS = (
    ("agreement", "agreement", "%", "higher", True),
    ("frechet_classifier_distance", "Frechet classifier distance", "", "lower", True),
    ("precision", "precision", "%", "higher", False),
    ("recall", "recall", "%", "higher", False),
    ("saturated", "saturated pixels", "%", "", False),
    ("copies_of_each_other", "near copies", "%", "lower", False),
    ("copies_of_real", "near copies of training images", "%", "lower", False),
)
"""What a judge says of images: key, title, unit, what is better, and whether it is in the first table."""
_HIGHER = ("precision", "recall", "density", "coverage", "agreement")


class Column(NamedTuple):
    """What a number is. Two numbers that were not measured alike are in two columns.

    Attributes:
      group: one of `GROUPS`.
      title: e.g. "pgd20 8/255".
      unit: "%" or "".
      better: "higher" or "lower"; "" where neither is.
      protocol: description of what the numbers of this column have in common.
      main: whether it belongs in the first table.
    """

    group: str
    title: str
    unit: str = ""
    better: str = ""
    protocol: str = ""
    main: bool = True


class Value(NamedTuple):
    """One number of one run.

    Attributes:
      column: what it is.
      number: in the column's unit.
      how: what may differ between methods, but not between seeds that are averaged.
      file: where it is from, relative to the run.
      note: what else is known of it, e.g. its interval.
      control: what it is a number of, where that is not the net: the start alone, or real test images.
    """

    column: Column
    number: float
    how: str
    file: str
    note: str = ""
    control: str = ""


def measured(run: Run) -> list[Value]:
    """All numbers of a run."""
    values = list(_training(run.training)) if run.training else []
    for file, report in run.reports.items():
        folder = file.rpartition("/")[0]
        net = os.path.basename(report.model)
        for value in _READERS[type(report)](report, file, folder):
            # The first table is of what every run has measured alike; other folders hold other protocols.
            column = value.column._replace(main=value.column.main and folder in _USUAL)
            values.append(value._replace(column=column, how=f"{value.how} {net}".strip()))
    return values


def _accuracy(report: AttackResults, file: str, folder: str) -> Iterator[Value]:
    for row in report.results:
        epsilon, norm = row.epsilon, row.norm or report.norm
        title, protocol = row.attack, row.protocol
        if title == "worst of all":
            title = f"worst of {report.norm.replace(',', ', ')}"
        elif title != "clean":
            title += " no bound" if epsilon is None else f" {_radius(ball_of(norm, epsilon))}"
            protocol += f"; {'l-inf' if norm == 'linf' else norm} ball" if epsilon is not None else "; no bound"
        if row.attack in ("worst case", "worst of all"):
            others = [other for other in report.results if other.attack not in ("clean", "worst case", "worst of all")]
            tried = [other.attack for other in others if row.attack == "worst of all" or _counts(other, row, norm)]
            where = protocol.rpartition(" broke it")[2] if row.attack == "worst of all" else ""
            protocol = f"an image counts if no attack broke it{where}: {', '.join(dict.fromkeys(tried))}"
        protocol += f"; {_images(report)}"
        if report.expectation_over_transformation != "none":
            protocol += f"; {report.expectation_over_transformation}"
        low, high = row.interval_95
        note = f"{row.correct} of {row.images}, 95% interval {100 * low:.1f} to {100 * high:.1f}"
        column = Column(ACCURACY, _titled(title, folder, "evaluation"), "%", "higher", protocol)
        yield Value(column, 100 * row.accuracy, "", file, note)
        if known := [share for share in row.per_class or () if share is not None]:
            worst = column._replace(title=f"worst class, {column.title}", main=False)
            yield Value(worst, 100 * min(known), "", file, f"{len(known)} classes")


def _counts(other: AttackRow, worst: AttackRow, norm: str) -> bool:
    """Whether an attack is among those of a worst case."""
    return (other.norm or norm) == norm and other.epsilon in (worst.epsilon, None)


def _radius(ball: Ball) -> str:
    return epsilon_text(ball) if ball.norm == "linf" else f"{ball.norm} {epsilon_text(ball)}"


def _samples(report: SampleResults, file: str, folder: str) -> Iterator[Value]:
    how = _words({key: value for key, value in vars(report.protocol).items() if key not in ("seed", "batch_size")})
    if report.seconds_per_image:
        column = Column(
            COST, f"s / image, {folder}", protocol="seconds of drawing an image, chains in batches", main=False
        )
        yield Value(column, report.seconds_per_image, how, file)
    judge = report.judge
    if judge is None:
        return
    protocol = (
        f"{report.num} images in the folder {folder} of the run, {judge.reference}; judge: "
        f"net with weights {judge.weights_sha256[:12]}; drawn in each run's own way, see there"
    )
    if judge.accuracy is not None:
        protocol += f"; the judge is right on {judge.accuracy:.1%} of {judge.accuracy_images} real images"
    controls: dict[str, Rating] = {"": judge, f"the start alone, {report.protocol.start}": judge.start_alone}
    if judge.real_images:
        controls["real test images"] = judge.real_images
    for control, rated in controls.items():
        for key, title, unit, better, main in _RATINGS:
            if (number := getattr(rated, key)) is not None:  # it is None of chains that diverged
                column = Column(GENERATED, f"{title}, {folder}", unit, better, protocol, main)
                yield Value(column, 100 * number if unit else number, how, file, control=control)


def _generation(report: GenerationResults, file: str, folder: str) -> Iterator[Value]:
    for kind, found in report.sets.items():
        if kind == _REAL:
            continue
        how = vars(found.protocol)
        names = score_names(found.protocol.feature_kind)
        common = (
            "n",
            "reference_data",
            "reference_split",
            "reference_count",
            "feature_net",
            "feature_sha256",
            "resize",
        )
        protocol = _words({key: how[key] for key in (*common, "splits")}) + "; drawn in each run's own way, see there"
        if (judge := report.classifier) is not None:
            protocol += f"; the feature net is right on {judge.accuracy:.1%} of {judge.images} real images"
        drawn = ["samples", "classes", "selection", "start", "steps"]
        # The buffer's words tell its age, which is another for each seed.
        drawn += ["stages"] if found.protocol.samples == "fresh chains" else []
        for control, source in (("", found), *_real(report)):
            for key, number in source.numbers().items():
                better = "higher" if key == names.score or key in _HIGHER else ""
                better = "lower" if key.startswith((names.frechet, names.kernel)) else better
                unit = "%" if key == "agreement" else ""
                words = key.replace("memorisation_l2", "memorisation z, l2").replace("frechet", "Frechet")
                title = _titled(f"{words.replace('_', ' ')}, {kind.replace('_', ' ')}", folder, "evaluation")
                column = Column(GENERATED, title, unit, better, protocol, key in (names.score, names.frechet))
                way = _words({name: how[name] for name in drawn})
                yield Value(column, 100 * number if unit else number, way, file, control=control)


def _real(report: GenerationResults) -> list[tuple[str, ImageScores]]:
    """The control among the sets of images, by the name of its row."""
    if report.real_images is None:
        return []
    split = report.real_images.protocol.selection.rpartition(" ")[2]
    return [(f"real {split} images", report.real_images)]


def _calibration(report: CalibrationResults, file: str, folder: str) -> Iterator[Value]:
    protocol = f"{report.protocol}; {_images(report)}"
    for number, words, unit, main in (
        (report.ece, "ECE, %", "%", True),
        (report.nll, "NLL", "", True),
        (report.brier, "Brier score", "", True),
        (report.adaptive_ece, "adaptive ECE, %", "%", False),
        (report.max_error, "largest error of a bin, %", "%", False),
    ):
        column = Column(CALIBRATION, _titled(words, folder, "evaluation"), unit, "lower", protocol, main)
        yield Value(column, 100 * number if unit else number, "", file)


def _corruptions(report: CorruptionResults, file: str, folder: str) -> Iterator[Value]:
    names = ", ".join(dict.fromkeys(cell.corruption for cell in report.cells))
    protocol = f"{report.protocol}: {names}; {_images(report)}"
    errors = errors_of(report.cells)
    shown = [("mean accuracy, %", 100 * report.mean_accuracy, "%", "higher", True)]
    if report.mce is not None:
        shown.append(
            (f"mCE against {os.path.basename(report.baseline or '')}, %", 100 * report.mce, "%", "lower", True)
        )
    shown.append(("mean ECE, %", 100 * report.mean_ece, "%", "lower", True))
    shown += [(f"{name}, accuracy", 100 * (1 - error), "%", "higher", False) for name, error in errors.items()]
    for title, number, unit, better, main in shown:
        column = Column(CORRUPTED_IMAGES, _titled(title, folder, "evaluation"), unit, better, protocol, main)
        yield Value(column, number, "", file, f"clean {100 * report.clean.accuracy:.1f}%")


def _other_images(report: OodResults, file: str, folder: str) -> Iterator[Value]:
    for other, detection in report.detection.items():
        for score, found in detection.items():
            words, count = report.scores[score], report.num_outside[other]
            protocol = f"{count} images of {other} against {_images(report)}; score {words}"
            title = _titled(f"{os.path.basename(other)}, {score.replace('_', ' ')}", folder, "evaluation")
            main = score in ("log_density", "max_probability")
            note = f"FPR at 95% TPR {found.fpr_at_95_tpr:.3f}"
            yield Value(Column(OTHER_IMAGES, title, "", "higher", protocol, main), found.auroc, "", file, note)


def _fisher(report: FisherResults, file: str, folder: str) -> Iterator[Value]:
    protocol = f"{report.num_images} images; trace: {report.trace}; {report.protocol}; {_images(report)}"
    for kind, terms in (("joint", report.joint.pixels), ("marginal", report.marginal.pixels)):
        for term, number, error, main in (
            ("gradient", terms.gradient_term, terms.gradient_error, True),
            ("trace", terms.trace_term, terms.trace_error, True),
            ("score", terms.score, terms.score_error, False),
        ):
            # Neither direction is better: a constant energy has the lowest score.
            column = Column(FISHER, _titled(f"{kind} {term}", folder, "evaluation"), protocol=protocol, main=main)
            yield Value(column, number, "", file, f"standard error {error:.3g}")


def _training(result: Training) -> Iterator[Value]:
    file = FILE
    passes = result.passes_per_step
    backward = passes.input_backward + passes.weight_backward
    per_image = "for each image of a batch, counted on one step"
    yield Value(Column(COST, "steps", protocol="changes of the weights, or batches served"), result.steps, "", file)
    yield Value(Column(COST, "forward / step", protocol=f"passes {per_image}"), passes.forward, "", file)
    yield Value(Column(COST, "backward / step", protocol=f"passes to input or weights {per_image}"), backward, "", file)
    flops = Column(COST, "GFLOP / step", protocol="passes times the FLOPs of a forward pass by TensorFlow's profiler")
    yield Value(flops, result.flops_per_step / 1e9, "", file)
    yield Value(Column(COST, "parameters", main=False), result.parameters, "", file)
    hardware = hardware_text(result.provenance)
    # Of a run that was interrupted only the last call's time is known, and that may be of a step or two.
    if result.seconds and result.seconds_per_step and round(result.seconds / result.seconds_per_step) == result.steps:
        of = "of a run in one call, on whatever else the machine did"
        seconds = Column(COST, "seconds", protocol=f"wall time {of}")
        yield Value(seconds, result.seconds, hardware, file)
        each = Column(COST, "ms / step", protocol=f"wall time with validation and files, {of}", main=False)
        yield Value(each, 1000 * result.seconds_per_step, hardware, file)


def hardware_text(made: Provenance) -> str:
    """Platform, processors and GPUs of a provenance."""
    return f"{made.platform}, {made.cpus} CPUs, GPUs: {', '.join(made.gpus) or 'none'}"


def _titled(title: str, folder: str, usual: str) -> str:
    return title if folder == usual else f"{title} ({folder})"


def _images(report: Subject) -> str:
    return f"{report.dataset}, {report.images}, data {report.data_sha256[:12]}"


def _words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in settings.items())


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(_plain(part) for part in value) or "none"
    if isinstance(value, dict):
        return ",".join(f"{key}={part}" for key, part in value.items())
    return str(value)


_READERS: dict[type, Callable[[Any, str, str], Iterator[Value]]] = {
    AttackResults: _accuracy,
    SampleResults: _samples,
    GenerationResults: _generation,
    CalibrationResults: _calibration,
    CorruptionResults: _corruptions,
    OodResults: _other_images,
    FisherResults: _fisher,
}
