"""The tables of benchmarks/methods.py, on records of two runs."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import methods_table
import rows

from jeat_tf.core.records import write_record
from jeat_tf.runs.results import ATTACKS
from tests.made import attack_results, rating, row, sample_results, training


def record(runs, run, *, clean=0.9, distance=7.0, num=500):
    folder = runs / run
    (folder / "evaluation").mkdir(parents=True)
    (folder / "paper").mkdir()
    training().write(str(folder))
    rows = (row("clean", round(50 * clean), 0.0), row("pgd20", 10, 0.1))
    write_record(str(folder / "evaluation" / ATTACKS), attack_results(rows))
    judged = sample_results(rating(0.5, distance, 0.5), rating(0.1, 0.5, 0.5), rating(1.0, 0.59, 0.5), num=num)
    judged.write(str(folder / "paper"))


def test_means_over_seeds_stand_below_the_controls_and_what_is_not_there_is_not_measured(tmp_path):
    record(tmp_path, "jeat-0", clean=0.9, distance=7.0)
    record(tmp_path, "jeat-1", clean=0.8, distance=9.0)
    kept = tmp_path / "cells.json"
    text = methods_table.write(str(tmp_path), ["jeat", "jem"], ["0", "1"], str(kept))
    assert "| `jeat` | 2 | 85.0 ± 7.1 | 20.0 ± 0.0 | 5 |" in text
    assert "AutoAttack" not in text  # no run has it
    assert "| `jeat` | 2 | 50.0 ± 0.0 | 8.00 ± 1.41 |" in text
    assert "| `jem`" not in text
    assert text.count("Not measured: `jem`.") == 2
    assert "the chain that tuning chose" not in text  # no run was drawn so
    rows = text[text.index("by the rule of each") :].splitlines()
    assert rows[4].startswith("| *real test images* | 2 | 100.0 ± 0.0 | 0.59 ± 0.00 |")
    assert rows[5].startswith("| *the start alone* | 2 | 10.0 ± 0.0 |")
    assert (tmp_path / "table.md").read_text() == text
    assert json.loads(kept.read_text())["jeat-1"]["numbers"]["clean"] == 0.8
    # On another machine, without the runs: the same tables, and more runs beside.
    elsewhere = tmp_path / "elsewhere"
    record(elsewhere, "jem-0")
    assert methods_table.write(str(elsewhere), ["jeat"], ["0", "1"], str(kept)) == text.replace(
        "\n\nNot measured: `jem`.", ""
    )
    methods_table.write(str(elsewhere), ["jem"], ["0"], str(kept))
    assert set(methods_table.stored_cells(str(kept))) == {"jeat-0", "jeat-1", "jem-0"}


def test_runs_of_mixed_protocols_are_refused_and_named(tmp_path):
    record(tmp_path, "jeat-0")
    record(tmp_path, "jem-0", num=100)
    with pytest.raises(ValueError, match="2 protocols of paper .*jeat-0: 500 images.*jem-0: 100 images"):
        methods_table.write(str(tmp_path), ["jeat", "jem"], ["0"], str(tmp_path / "cells.json"))
    assert methods_table.write(str(tmp_path), ["jem"], ["0"], str(tmp_path / "cells.json"))


def test_the_table_is_put_between_its_marks_alone(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- mnist -->\nold\n<!-- end of mnist -->\nafter\n")
    rows.put(str(page), "new\n", "mnist")
    assert page.read_text() == "before\n<!-- mnist -->\nnew\n<!-- end of mnist -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected the marks"):
        rows.put(str(page), "new\n", "mnist")


KEPT = methods_table.stored_cells(str(pathlib.Path(__file__).parents[1] / "benchmarks" / "digits_cells.json"))


@pytest.mark.parametrize("method", sorted({run.rpartition("-")[0] for run in KEPT}))
def test_the_comment_of_a_preset_is_what_was_measured(method):
    cells = [KEPT[run] for run in sorted(KEPT) if run.rpartition("-")[0] == method]
    preset = pathlib.Path(__file__).parents[1] / "configs" / "digits" / f"{method}.flags"
    assert methods_table.header(cells) in preset.read_text(encoding="utf-8")


def test_a_comment_is_rewritten_and_the_settings_stay(tmp_path):
    cell = KEPT["jeat-0"]
    for name, text in {
        "jeat": "# JEAT.\n# Measured: not\n# yet.\n--method=jeat\n",
        "jem": "# JEM.\n--method=jem\n",
    }.items():
        (tmp_path / f"{name}.flags").write_text(text)
    methods_table.put_headers(tmp_path, {"jeat": [cell], "jem": [], "gone": [cell]})
    assert (tmp_path / "jeat.flags").read_text() == f"# JEAT.\n{methods_table.header([cell])}\n--method=jeat\n"
    assert (tmp_path / "jem.flags").read_text() == "# JEM.\n--method=jem\n"
