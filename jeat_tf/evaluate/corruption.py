"""Accuracy and calibration under common corruptions."""

import hashlib
import os
from collections.abc import Mapping

import keras
import numpy as np
from tqdm import tqdm

from jeat_tf import figures
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.shared import Data, size_of
from jeat_tf.core.records import read_record
from jeat_tf.data.corrupted_sets import COMMON, Opened, open_corrupted
from jeat_tf.data.corruption_library import PACKAGE
from jeat_tf.data.corruptions import SEVERITIES
from jeat_tf.data.labelled import LabelledImages
from jeat_tf.metrics.confidence import calibration
from jeat_tf.runs.corruption_results import CorruptedCell, CorruptionResults, errors_of
from jeat_tf.runs.results import Subject

# Mean errors of AlexNet on ImageNet-C, by which mCE was defined (Hendrycks & Dietterich, 2019).
ALEXNET = {
    "gaussian_noise": 0.886428, "shot_noise": 0.894468, "impulse_noise": 0.922640, "defocus_blur": 0.819880,
    "glass_blur": 0.826268, "motion_blur": 0.785948, "zoom_blur": 0.798360, "snow": 0.866816, "frost": 0.826572,
    "fog": 0.819324, "brightness": 0.564592, "contrast": 0.853204, "elastic_transform": 0.646056,
    "pixelate": 0.717840, "jpeg_compression": 0.606500,
}  # fmt: skip


def opened(config: EvaluateConfig, data: LabelledImages, images: Data) -> Opened:
    """The corrupted images that the settings name; see `open_corrupted`."""
    density = config.density
    return open_corrupted(
        density.corruptions,
        data,
        only=tuple(name.strip() for name in density.corruption_names.split(",") if name.strip()),
        count=config.num_images,
        split=config.split,
        seed=config.seed,
        data_dir=images.data_dir or None,
        download=images.download,
        image_size=size_of(images.image_size),
    )


def baseline_errors(name: str) -> dict[str, float]:
    """The error of a baseline under each corruption, the mean over severities.

    Args:
      name: "alexnet" for ImageNet-C, or the `corruptions.json` of another net.

    Raises:
      ValueError: neither.
    """
    return ALEXNET if name == "alexnet" else errors_of(read_record(CorruptionResults, name).cells)


def measure_corruptions(
    subject: Subject, config: EvaluateConfig, net: keras.Model, data: LabelledImages, sets: Opened, folder: str
) -> CorruptionResults:
    """What `corruptions.json` holds; writes `corruptions.png` too.

    Raises:
      ValueError: a baseline that lacks a corruption, or images that cannot be used.
    """
    name = config.density.corruption_baseline
    baseline = baseline_errors(name) if name else {}
    if name and (missing := sorted({corruption for corruption, _ in sets} - set(baseline))):
        raise ValueError(
            f"expected the baseline {name} to have all corruptions, and it lacks {', '.join(missing)}; leave them out "
            "by --corruption_names"
        )
    digest, cells = hashlib.sha256(), []
    bar_format = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} {postfix}"
    with tqdm(sets.items(), desc="corruptions", bar_format=bar_format) as bar:
        for (corruption, severity), read in bar:
            bar.set_postfix_str(f"{corruption} {severity}", refresh=False)
            images = read()
            digest.update(images.sha256().encode())
            cells.append(_cell(corruption, severity, net, images, config.batch_size))
    errors = errors_of(cells)
    report = CorruptionResults(
        **vars(subject),
        source=config.density.corruptions,
        corrupted_sha256=digest.hexdigest(),
        clean=_cell("clean", 0, net, data, config.batch_size),
        cells=tuple(cells),
        mean_accuracy=float(np.mean([cell.accuracy for cell in cells])),
        mean_ece=float(np.mean([cell.ece for cell in cells])),
        worst=max(errors, key=lambda corruption: errors[corruption]),
        protocol=f"{len(errors)} corruptions, severities 1 to 5, {_words(config.density.corruptions)}",
        mce=_mce(errors, baseline),
        baseline=name or None,
    )
    _draw(report, os.path.join(folder, "corruptions"))
    return report


def _words(source: str) -> str:
    if source == PACKAGE:
        return f"made by the package {PACKAGE} with the strengths of ImageNet-C"
    return "made here with the strengths of CIFAR-10-C and ImageNet-C" if source == COMMON else f"from {source}"


def _mce(errors: Mapping[str, float], baseline: Mapping[str, float]) -> float | None:
    if not baseline:
        return None
    return float(np.mean([error / max(baseline[name], 1e-12) for name, error in errors.items()]))


def _cell(corruption: str, severity: int, net: keras.Model, data: LabelledImages, batch_size: int) -> CorruptedCell:
    parts = range(0, len(data.labels), batch_size)
    logits = np.concatenate([net(data.images[i : i + batch_size], training=False) for i in parts])
    found = calibration(logits, data.labels)
    return CorruptedCell(corruption, severity, found.accuracy, found.nll, found.ece, len(data.labels))


def _draw(report: CorruptionResults, path: str) -> None:
    names = list(errors_of(report.cells))
    tables = {
        title: np.array([getattr(cell, field) for cell in report.cells]).reshape(len(names), len(SEVERITIES))
        for title, field in (("accuracy, %", "accuracy"), ("ECE, %", "ece"))
    }
    severities = [str(severity) for severity in SEVERITIES]
    shown = {title: 100 * table for title, table in tables.items()}
    drawn = figures.draw_heat_maps(shown, names, severities, down="corruption", across="severity")
    figures.save_figure(path, drawn, accuracy=tables["accuracy, %"], ece=tables["ECE, %"])


def summary_of(report: CorruptionResults) -> list[str]:
    """The main numbers, to print: a line for each corruption, then the means."""
    lines = [f"corruptions, {report.protocol}: clean {report.clean.accuracy:.1%}"]
    for name in errors_of(report.cells):
        cells = [cell for cell in report.cells if cell.corruption == name]
        lines.append(f"  {name:20} " + " ".join(f"{cell.accuracy:6.1%}" for cell in cells))
    mce = "" if report.mce is None else f", mCE {100 * report.mce:.1f} against {report.baseline}"
    return [*lines, f"  mean {report.mean_accuracy:.1%}, ECE {report.mean_ece:.3f}, worst {report.worst}{mce}"]
