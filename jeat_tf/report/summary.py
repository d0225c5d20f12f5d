"""Runs by method, which are runs with the same settings except the seed; their means and standard deviations."""

import math
import os
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jeat_tf.core.flat import flatten
from jeat_tf.report.collect import Run
from jeat_tf.report.measures import GROUPS, Column, Value, measured

_OF_SEED = re.compile(r"[-_./]?(?:seed)?[-_]?(\d+)$")
_DIFFERENT = "not averaged: measured in different ways"
_SHOWN = 100  # characters of a protocol in a remark


class Mean(NamedTuple):
    """A number of a method.

    Attributes:
      mean: over seeds; None where seeds were not measured alike, or a number is not finite.
      std: sample standard deviation; None for one seed.
      numbers: of each seed.
      refused: why there is no mean; empty where there is one.
    """

    mean: float | None
    std: float | None
    numbers: dict[int, float]
    refused: str = ""


class Control(NamedTuple):
    """A row that is no net, for the tables of generated images: the start alone, or real test images.

    Attributes:
      name: of the row.
      seeds: number of seeds that its numbers are means over.
      values: numbers by column.
    """

    name: str
    seeds: int
    values: dict[Column, Mean]


class Method(NamedTuple):
    """A row: runs with the same settings except the seed.

    Attributes:
      name: what their folders have in common.
      method: `--method` of the settings.
      dataset: name of the data that they were trained on.
      runs: runs that finished, by seed.
      unfinished: runs that were stopped by the guard, failed, or still run; no number of theirs is averaged.
      values: numbers by column.
      controls: numbers of the start alone and of real test images, by name, column and seed.
    """

    name: str
    method: str
    dataset: str
    runs: list[Run]
    unfinished: list[Run]
    values: dict[Column, Mean]
    controls: dict[str, dict[Column, dict[int, Value]]] = {}

    @property
    def shown(self) -> Run:
        """The run whose pictures and curves represent the method: the first seed that finished."""
        return (self.runs or self.unfinished)[0]

    @property
    def recoveries(self) -> dict[int, int]:
        """How often the guard took runs back to earlier weights, by seed; without those it did not."""
        counts = {run.config.run.seed: _recoveries(run) for run in self.runs + self.unfinished}
        return {seed: count for seed, count in counts.items() if count}


def _recoveries(run: Run) -> int:
    return sum(not event.is_stop for event in run.guard)


def status(run: Run) -> str:
    """Whether a run finished, and how often the guard took it back."""
    times = _recoveries(run)
    recovered = [f"taken back by the guard {times} time{'s' * (times != 1)}"] if times else []
    if run.finished:
        return ", ".join(["finished", *recovered])
    stopped = [f"stopped by the guard at step {event.step}" for event in run.guard if event.is_stop]
    reason = stopped[-1] if stopped else "no train.json: stopped by the guard, failed, or still running"
    return f"did not finish ({', '.join([reason, *recovered])})"


def summarise(runs: Sequence[Run]) -> tuple[list[Method], list[str]]:
    """Methods by name, and remarks about what was not averaged or left out.

    Runs that have the same settings and the same seed are not averaged: their rows are separated by folder.

    Raises:
      ValueError: a file of a run that lacks something; it is named.
    """
    by_settings: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.config.run.seed, run.name)):
        by_settings.setdefault(_settings(run), []).append(run)
    remarks: list[str] = []
    rows: dict[str, list[Run]] = {}
    for alike in by_settings.values():
        for part in _one_of_each_seed(alike, remarks):
            name = _name(part)
            rows[name if name not in rows else f"{name} ({part[0].name})"] = part
    methods = []
    for name in sorted(rows):
        values: dict[Column, dict[int, Value]] = {}
        controls: dict[str, dict[Column, dict[int, Value]]] = {}
        for run in rows[name]:
            remarks += [
                f"{run.name}/{file} is left out: it is about other weights than training ended with"
                for file in run.left_out
            ]
            if run.finished:
                for value in measured(run):
                    of = controls.setdefault(value.control, {}) if value.control else values
                    of.setdefault(value.column, {})[run.config.run.seed] = value
        first = rows[name][0].config
        remarks += [
            f"{name}, {column.title}: {_DIFFERENT}: {different}"
            for column, of_seeds in values.items()
            if (different := _protocols(of_seeds))
        ]
        methods.append(
            Method(
                name,
                first.method.word,
                _dataset(rows[name]),
                [run for run in rows[name] if run.finished],
                [run for run in rows[name] if not run.finished],
                {column: _mean(of_seeds) for column, of_seeds in values.items()},
                controls,
            )
        )
    return methods, remarks


def controls_of(methods: Iterable[Method]) -> list[Control]:
    """Rows that are no nets, by name: a number of each seed, from the first method's run that has it."""
    found: dict[str, dict[Column, dict[int, Value]]] = {}
    for method in methods:
        for name, columns in method.controls.items():
            for column, of_seeds in columns.items():
                of_all = found.setdefault(name, {}).setdefault(column, {})
                # How the samples were drawn differs between methods, and is nothing to their start or to real images.
                of_all |= {seed: v._replace(how="") for seed, v in of_seeds.items() if seed not in of_all}
    return [
        Control(
            name,
            max(map(len, columns.values())),
            {column: _mean(of_seeds) for column, of_seeds in columns.items()},
        )
        for name, columns in sorted(found.items())
    ]


def _dataset(runs: Sequence[Run]) -> str:
    """Name of the data that a row was trained on; without a finished run, as in the settings, perhaps a folder."""
    said = [run.training.dataset for run in runs if run.training]
    return said[0] if said else runs[0].config.data.dataset


def columns_of(methods: Iterable[Method]) -> list[Column]:
    """All columns that some method has a number in, group by group, in the order in which they were met."""
    found = dict.fromkeys(column for method in methods for column in method.values)
    order = list(GROUPS)
    # Whatever the attacks were, the clean images come first and the worst case last.
    ends = {"clean": 0, "worst case": 2}
    return sorted(
        found,
        key=lambda column: (
            order.index(column.group),
            ends.get(re.split(r" (?:\d|l2|no bound)", column.title)[0], 1),
        ),
    )


def _settings(run: Run) -> tuple:
    return tuple(value for name, value in flatten(run.config, identity=True).items() if name != "seed")


def _one_of_each_seed(runs: list[Run], remarks: list[str]) -> list[list[Run]]:
    """The runs in parts that have each seed once: all, or those of one folder's stem, or each alone."""
    if _seeds_differ(runs):
        return [runs]
    by_seed: dict[int, list[str]] = {}
    for run in runs:
        by_seed.setdefault(run.config.run.seed, []).append(run.name)
    remarks += [
        f"{' and '.join(names)} have the same settings and the same seed ({seed}): their rows are separate"
        for seed, names in by_seed.items()
        if len(names) > 1
    ]
    stems: dict[str, list[Run]] = {}
    for run in runs:
        stems.setdefault(_without_seed(run.name, run), []).append(run)
    parts: list[list[Run]] = []
    for part in stems.values():
        parts += [part] if _seeds_differ(part) else [[run] for run in part]
    return parts


def _without_seed(name: str, run: Run) -> str:
    """The name without the run's seed at its end; another number, as of eps8, stays."""
    found = _OF_SEED.search(name)
    return name[: found.start()] if found and int(found[1]) == run.config.run.seed else name


def _seeds_differ(runs: list[Run]) -> bool:
    return len({run.config.run.seed for run in runs}) == len(runs)


def _name(runs: list[Run]) -> str:
    """What the folders' names share, without the number of a seed."""
    for whole in (True, False):  # the whole name, or that of the folder
        stems = {_without_seed(run.name if whole else run.name.rpartition("/")[2], run) for run in runs}
        if len(stems) == 1 and (stem := stems.pop()):
            return stem
    return os.path.commonprefix([run.name for run in runs]).rstrip("-_./ ") or runs[0].config.method.word


def _protocols(of_seeds: dict[int, Value]) -> str:
    """The runs of each way of measuring; empty where there is one."""
    ways: dict[str, list[str]] = {}
    for seed, value in of_seeds.items():
        ways.setdefault(value.how, []).append(f"seed {seed}")
    words = [f"{', '.join(seeds)} ({how[:_SHOWN] or 'as the column says'})" for how, seeds in ways.items()]
    return "; ".join(words) if len(ways) > 1 else ""


def _mean(of_seeds: dict[int, Value]) -> Mean:
    numbers = {seed: value.number for seed, value in of_seeds.items()}
    if len({value.how for value in of_seeds.values()}) > 1:
        return Mean(None, None, numbers, _DIFFERENT)
    if not all(math.isfinite(number) for number in numbers.values()):
        return Mean(None, None, numbers, "not finite")
    std = statistics.stdev(numbers.values()) if len(numbers) > 1 else None
    return Mean(statistics.fmean(numbers.values()), std, numbers)
