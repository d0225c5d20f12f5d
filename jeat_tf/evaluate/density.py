"""What `evaluate` measures beside attacks: calibration, detection of other images, Fisher scores, generated images."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from jeat_tf import figures
from jeat_tf.attacks.misfits import misfits
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.surrogates import inference
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.shared import size_of
from jeat_tf.core.files import writable_folder
from jeat_tf.core.records import write_record
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.values import nearest
from jeat_tf.data.datasets import open_unlabelled
from jeat_tf.data.labelled import LabelledImages, Pixels
from jeat_tf.evaluate import corruption
from jeat_tf.evaluate.generated_images import measure_generation
from jeat_tf.evaluate.image_sets import open_generated
from jeat_tf.evaluate.opened import Evaluated, open_evaluated
from jeat_tf.metrics import confidence, fisher, ood
from jeat_tf.runs.corruption_results import CorruptionResults
from jeat_tf.runs.generation_results import GenerationResults, ImageScores
from jeat_tf.runs.locks import held
from jeat_tf.runs.results import (
    CalibrationBins,
    CalibrationResults,
    FisherResults,
    FisherUnits,
    OodResults,
    Subject,
)
from jeat_tf.runs.second_nets import SecondNet
from jeat_tf.runs.trained import data_of_run, output_folder

Measure: TypeAlias = CalibrationResults | OodResults | FisherResults | CorruptionResults | GenerationResults
"""What one measure found."""

_MADE = ("uniform", "gaussian", "constant", "interpolation")  # outside sets that need no data
_SHOWN = {
    "log_density": "log p(x) up to a constant",
    "max_probability": "max p(y | x)",
    "approximate_mass": "- |d log p(x) / dx|",
    "max_logit": "max f(x)[y]",
}


def asked(config: EvaluateConfig) -> list[str]:
    """Names of the measures beside attacks that the settings ask for."""
    flags = {
        "calibration": config.density.calibration,
        "ood": config.density.ood_names,
        "fisher": config.density.fisher_images,
        "corruptions": config.density.corruptions,
        "generation": config.generation.generation,
    }
    return [name for name, value in flags.items() if value]


def measure(config: EvaluateConfig, evaluated: Evaluated | None = None) -> dict[str, Measure]:
    """Writes the requested ones of calibration, ood, fisher, corruptions and generation (.json), with their figures.

    What can be checked is checked before anything is measured, and each file is written before the next measure begins.

    Args:
      config: settings of the verb.
      evaluated: net and images, where they were read before.

    Returns:
      reports: by name.

    Raises:
      ValueError: bad settings, unreadable nets, data or samples, or sets of images that do not fit the net.
      FileNotFoundError: a data set is not prepared.
    """
    names = asked(config)
    if config.density.fisher_probes < 0 or config.density.fisher_images < 0:
        raise ValueError("expected --fisher_images and --fisher_probes >= 0")
    evaluated = evaluated or open_evaluated(config)
    net, data = evaluated.read.net, evaluated.data
    outside = {name: _outside(name, config, data) for name in config.density.ood_names}
    corrupted = (
        corruption.opened(config, data, data_of_run(config.data, evaluated.run)) if "corruptions" in names else {}
    )
    generated = open_generated(config, evaluated) if "generation" in names else None
    folder = writable_folder(output_folder(config.model, config.output_dir, "evaluation"), "output_dir")
    with held(folder, "jeat_tf.evaluate"):
        checks = misfits(Oracle(inference(net)), data.images, data.labels)
        subject = dataclasses.replace(evaluated.subject, checks=tuple(checks))
        measures: dict[str, Callable[[], Measure]] = {
            "calibration": lambda: _calibration(subject, net, data, folder, config.batch_size),
            "ood": lambda: _ood(subject, net, data, outside, folder, config.batch_size),
            "fisher": lambda: _fisher(subject, net, data, config),
        }
        if corrupted:
            measures["corruptions"] = lambda: corruption.measure_corruptions(
                subject, config, net, data, corrupted, folder
            )
        if generated is not None:
            measures["generation"] = lambda: _generation(
                subject, measure_generation(config, generated, folder), generated.classifier
            )
        reports: dict[str, Measure] = {}
        for name in names:
            reports[name] = measures[name]()
            write_record(os.path.join(folder, f"{name}.json"), reports[name])
        return reports


def summary(report: Measure) -> list[str]:
    """The report's main numbers, a line each, to print."""
    if isinstance(report, CalibrationResults):
        shown = ("accuracy", "nll", "brier", "ece", "adaptive_ece", "max_error")
        return ["calibration: " + ", ".join(f"{key} {getattr(report, key):.4f}" for key in shown)]
    if isinstance(report, OodResults):
        return [
            f"out of distribution, {other}: AUROC "
            + ", ".join(f"{score} {found.auroc:.3f}" for score, found in detection.items())
            for other, detection in report.detection.items()
        ]
    if isinstance(report, CorruptionResults):
        return corruption.summary_of(report)
    if isinstance(report, FisherResults):
        terms = {"joint": report.joint.pixels, "marginal": report.marginal.pixels}
        return [
            f"Fisher score, {kind}: {value.score:.4g} = gradient {value.gradient_term:.4g} "
            f"+ trace {value.trace_term:.4g} ({value.units})"
            for kind, value in terms.items()
        ]
    return [
        f"{kind.replace('_', ' ')}, {found.protocol.n} images: "
        + ", ".join(f"{key} {value:.4g}" for key, value in found.numbers().items())
        for kind, found in report.sets.items()
    ]


def _calibration(
    subject: Subject, net: keras.Model, data: LabelledImages, folder: str, batch_size: int
) -> CalibrationResults:
    parts = range(0, len(data.labels), batch_size)
    logits = np.concatenate([net(data.images[i : i + batch_size], training=False) for i in parts])
    found = confidence.calibration(logits, data.labels)
    bins = figures.ReliabilityBins(found.bin_confidence, found.bin_accuracy, found.bin_count)
    path = os.path.join(folder, "reliability")
    figures.save_figure(path, figures.draw_reliability({os.path.basename(data.name): bins}), **bins._asdict())
    return CalibrationResults(
        **vars(subject),
        accuracy=found.accuracy,
        nll=found.nll,
        brier=found.brier,
        ece=found.ece,
        adaptive_ece=found.adaptive_ece,
        max_error=found.max_error,
        bins=CalibrationBins(
            edges=tuple(found.edges.tolist()),
            bin_confidence=_of_bins(found.bin_confidence),
            bin_accuracy=_of_bins(found.bin_accuracy),
            bin_count=tuple(found.bin_count.tolist()),
        ),
        protocol=f"{len(bins.confidence)} bins of equal width over the confidence max p(y | x)",
    )


def _of_bins(values: np.ndarray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else value for value in values.tolist())


def _outside(name: str, config: EvaluateConfig, data: LabelledImages) -> np.ndarray:
    """Images of another kind, as many as there are of the data."""
    count = len(data.labels)
    height, width, channels = shape = data.image_shape
    seed = fold_in(tf.constant([config.seed, 8]), 0)
    if name == "interpolation":
        return ood.interpolation(data.images[:], seed)
    if name in _MADE:
        make = {"uniform": ood.uniform_noise, "gaussian": ood.gaussian_noise, "constant": ood.constant}[name]
        return make(count, (height, width, channels), seed)
    try:
        other = open_unlabelled(
            name,
            config.split,
            config.data.data_dir or None,
            download=config.data.download,
            image_size=size_of(config.data.image_size),
        )
    except ValueError as error:
        raise ValueError(f"--ood={name}: {nearest(name, _MADE)}; as a data set: {error}") from error
    images = Pixels(other.images[:count])
    if images.images.shape[1:] != shape:
        raise ValueError(
            f"expected images of shape {list(shape)} in --ood={name}, received {list(images.images.shape[1:])}"
        )
    return images[:]


def _ood(
    subject: Subject,
    net: keras.Model,
    data: LabelledImages,
    outside: dict[str, np.ndarray],
    folder: str,
    batch_size: int,
) -> OodResults:
    inside = ood.ood_scores(net, data.images[:], batch_size=batch_size)
    of_others = {name: ood.ood_scores(net, images, batch_size=batch_size) for name, images in outside.items()}
    for score, words in _SHOWN.items():
        sets = {"test": inside[score]} | {name: scores[score] for name, scores in of_others.items()}
        shown = ood.histograms(sets)
        drawn = figures.draw_score_histograms(shown.edges, shown.counts, score=words)
        counts = {f"counts_{os.path.basename(name)}": values for name, values in shown.counts.items()}
        figures.save_figure(os.path.join(folder, f"ood_{score}"), drawn, edges=shown.edges, **counts)
    return OodResults(
        **vars(subject),
        detection={
            name: {score: ood.detection(inside[score], scores[score]) for score in _SHOWN}
            for name, scores in of_others.items()
        },
        num_outside={name: len(images) for name, images in outside.items()},
        scores=_SHOWN,
        protocol="higher scores are more like the data; AUPR of the data and of the others, FPR at 95% TPR",
    )


def _fisher(subject: Subject, net: keras.Model, data: LabelledImages, config: EvaluateConfig) -> FisherResults:
    count = min(config.density.fisher_images, len(data.labels))
    probes = config.density.fisher_probes
    trace: fisher.Trace = fisher.exact_trace
    if probes:
        trace = functools.partial(fisher.hutchinson_trace, num_probes=probes)
    images, labels = data.images[:count], data.labels[:count]
    score = functools.partial(
        fisher.fisher_score, net, images, trace=trace, seed=tf.constant([config.seed, 9]), batch_size=config.batch_size
    )
    joint, marginal = score(labels), score()
    return FisherResults(
        **vars(subject),
        joint=FisherUnits(pixels=joint, symmetric=joint.symmetric()),
        marginal=FisherUnits(pixels=marginal, symmetric=marginal.symmetric()),
        num_images=count,
        trace=f"Hutchinson, {probes} Rademacher probes" if probes else "exact, one Hessian row a pixel",
        protocol="mean of 1/2 |grad E|^2 - tr hess E over images; see the two terms before the score",
    )


def _generation(subject: Subject, sets: dict[str, ImageScores], classifier: SecondNet | None) -> GenerationResults:
    return GenerationResults(
        **vars(subject),
        fresh_chains=sets["fresh_chains"],
        real_images=sets.get("real_images"),
        replay_buffer=sets.get("replay_buffer"),
        classifier=classifier,
    )
