"""Runs as they lie on disk: what `train`, `evaluate`, `sample` and `draw` have written, not yet interpreted."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from jeat_tf.config.store import read_settings
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.records import read_record, stored
from jeat_tf.methods.guard_files import GuardEvent, GuardEvents
from jeat_tf.runs.corruption_results import CORRUPTED, CorruptionResults
from jeat_tf.runs.drawings import FILE as FIGURES
from jeat_tf.runs.drawings import FigureRecord, read_figures
from jeat_tf.runs.generation_results import GenerationResults
from jeat_tf.runs.results import ATTACKS, AttackResults, CalibrationResults, FisherResults, OodResults
from jeat_tf.runs.sample_results import FILE, SampleResults
from jeat_tf.runs.training import Training, read_history, read_training

Measurement: TypeAlias = (
    AttackResults
    | CalibrationResults
    | CorruptionResults
    | OodResults
    | FisherResults
    | GenerationResults
    | SampleResults
)
"""A file of `evaluate` or `sample` about a net."""

_RECORDS: dict[str, type[Measurement]] = {
    ATTACKS: AttackResults,
    "calibration.json": CalibrationResults,
    CORRUPTED: CorruptionResults,
    "ood.json": OodResults,
    "fisher.json": FisherResults,
    "generation.json": GenerationResults,
    FILE: SampleResults,
}
_DIGEST = re.compile(r"(^|/)[0-9a-f]{16,}(/|$)")  # a folder of the pipeline's store


class Run(NamedTuple):
    """One training run.

    Attributes:
      path: its folder.
      name: the folder relative to the one that was read, with "/" between its parts.
      config: its settings.
      training: its result; None for a run that did not finish.
      guard: what the guard did.
      history: the logs of each epoch.
      reports: what was measured of it, by the files' names relative to the run, e.g. "evaluation/results.json".
      pictures: its PNG files beside these, by their names relative to the run.
      folders: paths of its folders that are elsewhere, by their names relative to the run.
      left_out: files that are about other weights of its `net.keras` than training ended with.
    """

    path: str
    name: str
    config: TrainConfig
    training: Training | None
    guard: tuple[GuardEvent, ...]
    history: list[dict[str, float]]
    reports: dict[str, Measurement]
    pictures: list[str]
    left_out: list[str]
    folders: Mapping[str, str] = {}

    def path_of(self, file: str) -> str:
        """Where a file of the run is."""
        inside, slash, rest = file.partition("/")
        if not slash:
            return os.path.join(self.path, file)
        return os.path.join(self.folders.get(inside, os.path.join(self.path, inside)), rest)

    @property
    def finished(self) -> bool:
        """Whether training finished: `train.json` is written last."""
        return self.training is not None


class Drawing(NamedTuple):
    """A figure of `python -m jeat_tf.draw`.

    Attributes:
      path: its PNG.
      name: of the file, without suffix.
      record: what it shows, of which nets, and what its numbers depend on.
    """

    path: str
    name: str
    record: FigureRecord


def read_runs(folder: str) -> tuple[list[Run], list[Drawing]]:
    """All runs at or below a folder, and all figures that `draw` has left there.

    A folder with a `config.json` is a run; runs inside it (the teacher of one that labels its own images) are part
    of it.

    Raises:
      ValueError: no such folder, no run in it, or a file that cannot be read, which is named.
    """
    if not folder:
        raise ValueError("expected a folder of runs, received nothing; set --runs")
    if not os.path.isdir(folder):
        raise ValueError(f"expected a folder of runs, received {folder}, which is no folder")
    runs: list[Run] = []
    drawings: list[Drawing] = []
    for path, folders, files in os.walk(folder):
        folders.sort()
        if FIGURES in files:
            drawings += read_drawings(path)
        if "config.json" in files:
            runs.append(read_run(path, _name(folder, path)))
            for name in folders:
                drawings += read_drawings(os.path.join(path, name))
            folders.clear()
    runs = _readable(runs)
    if not runs:
        raise ValueError(
            f"no runs in {folder}; expected folders with a config.json, as `python -m jeat_tf.train` writes them"
        )
    return runs, drawings


def _readable(runs: list[Run]) -> list[Run]:
    """The runs; those in a folder that is named by a digest get their method and seed as name instead."""
    named: dict[str, Run] = {}
    for run in runs:
        name = run.name
        if _DIGEST.search(name):
            update = run.config.update
            method = "+".join([run.config.method.word, *([update.word] if update else [])])
            name = f"{method}-{run.config.run.seed}"
        same = sum(other == name or other.startswith(f"{name} (") for other in named)
        name = f"{name} ({same + 1})" if same else name
        named[name] = run._replace(name=name)
    return list(named.values())


def _name(folder: str, path: str) -> str:
    relative = os.path.relpath(path, folder)
    return os.path.basename(os.path.abspath(path)) if relative == os.curdir else relative.replace(os.sep, "/")


def read_run(path: str, name: str, folders: Mapping[str, str] | None = None) -> Run:
    """One run.

    Args:
      path: its folder.
      name: what the report calls it.
      folders: where measurements of it lie, by the names that they would have in the run; None: in the run.

    Raises:
      ValueError: a file that cannot be read, which is named.
    """
    where = {inside: os.path.join(path, inside) for inside in _measurement_folders(path)} | dict(folders or {})
    training, told = read_training(path), stored(GuardEvents, os.path.join(path, "guard.json"))
    guard = training.guard.events if training else told.events if told else ()
    reports: dict[str, Measurement] = {}
    pictures: list[str] = []
    left_out: list[str] = []
    weights = training.weights_sha256 if training else None
    for inside, place in where.items():
        files = {f"{inside}/{file}": os.path.join(place, file) for file in sorted(os.listdir(place))}
        found: dict[str, Measurement] = {
            here: read_record(kind, there)
            for here, there in files.items()
            if (kind := _RECORDS.get(os.path.basename(here))) is not None
        }
        old = [here for here, report in found.items() if weights and _is_of_other_weights(report, weights)]
        left_out += old
        reports |= {here: report for here, report in found.items() if here not in old}
        if len(old) < len(found):
            pictures += [here for here in files if here.endswith(".png")]
    config, history = read_settings(TrainConfig, os.path.join(path, "config.json")), read_history(path)
    return Run(path, name, config, training, guard, history, reports, pictures, left_out, where)


def _is_of_other_weights(report: Measurement, weights: str) -> bool:
    """Whether a file is about the run's `net.keras` as it was before it was trained further or again."""
    return os.path.basename(report.model) == "net.keras" and report.weights_sha256 != weights


def _measurement_folders(path: str) -> Iterator[str]:
    """Names of the folders in a run that hold measurements; `evaluation` and `samples` first, as they are the usual."""
    names = [name for name in os.listdir(path) if os.path.isdir(os.path.join(path, name))]
    for name in sorted(names, key=lambda name: (name not in ("evaluation", "samples"), name)):
        if any(os.path.isfile(os.path.join(path, name, file)) for file in _RECORDS):
            yield name


def read_drawings(folder: str) -> list[Drawing]:
    """The figures that a folder's `figures.json` tells of and that are there; none without that file.

    Raises:
      ValueError: a file of something else.
    """
    return [Drawing(os.path.join(folder, f"{name}.png"), name, record) for name, record in read_figures(folder).items()]
