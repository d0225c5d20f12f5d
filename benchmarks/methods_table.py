"""The tables of benchmarks/methods.py: what its runs have on disk, checked to be alike, as JSON and Markdown."""

import dataclasses
import json
import os
import pathlib
import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

from rows import head, row, spread

from jeat_tf.core.files import write_text
from jeat_tf.core.provenance import Provenance
from jeat_tf.core.records import stored
from jeat_tf.runs.results import ATTACKS, AttackResults
from jeat_tf.runs.sample_results import FILE, Rating, SampleResults
from jeat_tf.runs.training import FILE as TRAINING
from jeat_tf.runs.training import Training

RULES = {
    "paper": "Images from uniform noise, by the rule of each method's paper.",
    "tuned": "Images from uniform noise, by the chain that tuning chose for each net.",
    "gaussians": "Images from class Gaussians, by the rule of each method's paper.",
}
ACCURACY = ("clean", "pgd20", "autoattack", "autoattack-fast")
RATINGS = ("agreement", "frechet_classifier_distance", "precision", "recall", "saturated", "copies_of_each_other")
PASSES = "passes"
HEADS = {
    "clean": "clean %",
    "pgd20": "PGD-20 %",
    "autoattack": "AutoAttack %",
    "autoattack-fast": "AutoAttack, fast form, %",
    PASSES: "passes a step",
    "agreement": "agreement %",
    "frechet_classifier_distance": "distance",
    "precision": "precision %",
    "recall": "recall %",
    "saturated": "saturated %",
    "copies_of_each_other": "near copies %",
}
FLOWS = ("flow", "residual_flow")  # drawn exactly: their start is their own
NOT_MEASURED = "not measured"


class Cell(NamedTuple):
    """What one run measured; a part that is not finished is not there.

    Attributes:
      run: its folder's name.
      numbers: column -> number; `passes` are those of one image in a training step, forward and backward.
      protocol: part -> what has to be equal for numbers to stand in one table.
      chosen: the stages that tuning chose; empty where it did not run.
      controls: rule -> "start_alone" and "real_images" -> ratings.
      made: part -> date, versions and processors.
    """

    run: str
    numbers: dict[str, float]
    protocol: dict[str, str]
    chosen: str
    controls: dict[str, dict[str, dict[str, float]]]
    made: dict[str, str]


def stored_cells(path: str) -> dict[str, Cell]:
    """Run -> what was measured before, here or elsewhere; the file is what `write` keeps."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as f:
        return {run: Cell(run=run, **cell) for run, cell in json.load(f).items()}


def read_cell(runs: str, method: str, seed: str, before: Cell | None = None) -> Cell:
    """What is there of one cell: what its folder holds, and what was measured before of the parts that it lacks."""
    run = f"{method}-{seed}"
    cell = Cell(run, {}, {}, "", {}, {}) if before is None else before
    folder = os.path.join(runs, run)
    chosen = cell.chosen
    if (training := stored(Training, os.path.join(folder, TRAINING))) is not None:
        cell.numbers[PASSES] = sum(dataclasses.astuple(training.passes_per_step))
    if (attacks := stored(AttackResults, os.path.join(folder, "evaluation", ATTACKS))) is not None:
        cell.numbers.update({row.attack: row.accuracy for row in attacks.results if row.attack in ACCURACY})
        cell.protocol["accuracy"] = (
            _words(vars(attacks), "dataset", "images", "data_sha256", "norm")
            + ": "
            + "; ".join(
                f"{row.attack} {row.epsilon} {row.protocol}" for row in attacks.results if row.attack in ACCURACY
            )
        )
        cell.made["accuracy"] = _made(attacks.date, attacks.provenance)
    for rule in RULES:
        found = stored(SampleResults, os.path.join(folder, rule, FILE))
        if found is None or found.judge is None:
            continue
        judge = found.judge
        cell.numbers.update({f"{rule} {name}": number for name, number in _rated(judge).items()})
        cell.protocol[rule] = f"{found.num} images, judge {judge.weights_sha256[:12]}, {judge.reference}, " + (
            _words(vars(found.protocol), "selection", "classes", "start")
        )
        if method not in FLOWS and judge.real_images:
            controls = {"start_alone": judge.start_alone, "real_images": judge.real_images}
            cell.controls[rule] = {name: _rated(control) for name, control in controls.items()}
        cell.made[rule] = _made(found.date, found.provenance)
        if found.tuning is not None:
            cell.protocol[rule] += ", " + _words(vars(found.tuning), "budget", "images", "features_sha256")
            chosen = "; ".join(found.protocol.stages)
    return cell._replace(chosen=chosen)


def check_alike(cells: Iterable[Cell]) -> None:
    """Refuses to put runs into one table that were not measured alike.

    Raises:
      ValueError: two protocols of one part, with the runs of each; a flow's start is its own.
    """
    for part in ("accuracy", *RULES):
        runs: dict[str, list[str]] = {}
        for cell in cells:
            if part in cell.protocol and not (part == "paper" and cell.run.rpartition("-")[0] in FLOWS):
                runs.setdefault(cell.protocol[part], []).append(cell.run)
        if len(runs) > 1:
            each = "; ".join(f"{', '.join(names)}: {protocol}" for protocol, names in runs.items())
            raise ValueError(
                f"expected runs that were measured alike in one table, received {len(runs)} protocols of {part} "
                f"({each}); make the others again, or ask for their tables apart"
            )


def write(runs: str, methods: list[str], seeds: list[str], kept: str) -> str:
    """Writes what is finished to the file `kept` and its tables to <runs>/table.md, and returns the Markdown."""
    before = stored_cells(kept)
    cells = {
        method: [read_cell(runs, method, seed, before.get(f"{method}-{seed}")) for seed in seeds] for method in methods
    }
    check_alike(_all(cells))
    text = markdown(cells)
    found = before | {cell.run: cell for cell in _all(cells) if cell.numbers}
    each = {
        run: {name: given for name, given in cell._asdict().items() if name != "run"} for run, cell in found.items()
    }
    write_text(kept, json.dumps(each, indent=1, sort_keys=True) + "\n")
    write_text(os.path.join(runs, "table.md"), text)
    return text


def markdown(cells: dict[str, list[Cell]]) -> str:
    """A table of accuracy, and one of images by each rule that was measured, headed by the two controls."""
    parts = []
    attacks = tuple(name for name in ACCURACY if any(name in cell.numbers for cell in _all(cells))) or ACCURACY
    rules = [rule for rule in RULES if any(rule in cell.protocol for cell in _all(cells))]
    passes = [PASSES] if all(PASSES in cell.numbers for cell in _all(cells) if cell.numbers) else []
    names = {"": (*attacks, *passes)} | {f"{rule} ": RATINGS for rule in rules}
    titles = {"": "Accuracy and robustness on the test split."} | {f"{rule} ": title for rule, title in RULES.items()}
    for prefix, columns in names.items():
        lines = [head(["preset", "seeds", *(HEADS[name] for name in columns)])]
        if prefix:
            for words, control in (("*real test images*", "real_images"), ("*the start alone*", "start_alone")):
                rule = prefix.strip()
                seen = {
                    cell.run.rpartition("-")[2]: cell.controls[rule][control]
                    for cell in _all(cells)
                    if rule in cell.controls
                }
                lines.append(row([words, *_means(list(seen.values()), columns, "")]))
        missing = []
        for method, of_method in cells.items():
            means = _means([cell.numbers for cell in of_method], columns, prefix)
            if set(means[1:]) == {NOT_MEASURED}:
                missing.append(f"`{method}`")
            else:
                lines.append(row([f"`{method}`", *means]))
        parts.append("\n".join([titles[prefix], "", *lines]))
        if missing:
            parts.append(textwrap.fill(f"Not measured: {', '.join(missing)}.", 120, break_on_hyphens=False))
    return "\n\n".join(parts) + "\n"


def put_headers(presets: pathlib.Path, cells: dict[str, list[Cell]]) -> None:
    """Rewrites what the comment of each preset says was measured, where its accuracy was."""
    for method, of_method in cells.items():
        path = presets / f"{method}.flags"
        found = [cell for cell in of_method if "accuracy" in cell.protocol]
        if found and path.exists():
            text = path.read_text(encoding="utf-8")
            before, _, after = text.partition("# Measured")
            settings = after[after.index("\n--") + 1 :]
            write_text(str(path), f"{before}{header(found)}\n{settings}")


def header(cells: list[Cell]) -> str:
    """The comment that says what the seeds of a preset measured."""
    seeds = ", ".join(cell.run.rpartition("-")[2] for cell in cells)
    which = f"seeds {seeds}, mean and standard deviation" if len(cells) > 1 else f"seed {seeds} alone"
    numbers = [cell.numbers for cell in cells]
    accuracy = [name for name in ACCURACY if name in numbers[0]]
    texts = dict(zip(accuracy, _means(numbers, accuracy, "")[1:], strict=True))
    reached = ", ".join(f"{HEADS[name].removesuffix(' %')} {texts[name]}%" for name in accuracy)
    text = (
        f"# Measured (small scale; {which}, by `python benchmarks/methods.py`, no GPU, "
        f"{max(cell.made['accuracy'] for cell in cells)}): {reached}"
    )
    if any("paper frechet_classifier_distance" in each for each in numbers):
        distance = _means(numbers, ["frechet_classifier_distance"], "paper ")[1]
        text += f"; distance of 500 images from noise {distance}"
    if controls := [cell.controls["paper"] for cell in cells if "paper" in cell.controls]:
        start, real = (
            _means([each[name] for each in controls], ["frechet_classifier_distance"], "")[1]
            for name in ("start_alone", "real_images")
        )
        text += f" (the noise alone {start}, real test images {real})"
    return "\n# ".join(textwrap.wrap(f"{text}.", 118, break_on_hyphens=False))


def _all(cells: dict[str, list[Cell]]) -> list[Cell]:
    return [cell for of_method in cells.values() for cell in of_method]


def _means(numbers: list[dict[str, Any]], columns: Iterable[str], prefix: str) -> list[str]:
    """How many seeds, then mean and sample standard deviation of each column; what is not there is not measured."""
    columns = list(columns)
    counts = {sum(prefix + name in each for each in numbers) for name in columns}
    texts = []
    for name in columns:
        values = [each[prefix + name] for each in numbers if each.get(prefix + name) is not None]
        if not values:
            texts.append(NOT_MEASURED)
        elif name == PASSES:
            texts.append(" or ".join(f"{passes:.0f}" for passes in sorted(set(values))))
        else:
            texts.append(spread(values, 2) if "distance" in name else spread([100 * value for value in values]))
    return [str(max(counts)), *texts]


def _made(date: str, how: Provenance) -> str:
    return f"{date}, {how.cpus} processors, TensorFlow {how.tensorflow}, Keras {how.keras}"


def _words(found: dict[str, Any], *names: str) -> str:
    return ", ".join(f"{name} {found[name]}" for name in names)


def _rated(rating: Rating) -> dict[str, float]:
    return {name: number for name in RATINGS if (number := getattr(rating, name)) is not None}
