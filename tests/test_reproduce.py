import pathlib

import pytest

from components.local import Outcome
from components.pipeline import build
from jeat_tf.core.flat import replace
from jeat_tf.methods.presets import presets
from jeat_tf.reproduce.command import main, pipeline_of, print_plan
from jeat_tf.reproduce.rows import ROWS, SCALES, ReproduceConfig, chosen, page

NOISE = {"noise", "noise_8", "noise_16", "pre_jeat"}  # systems of figures only


def config(**settings):
    return replace(ReproduceConfig(), **settings)


def pipeline(**settings):
    """The pipeline of the one row that the settings name."""
    [(name, row)] = chosen(config(**settings)).items()
    return pipeline_of(config(**settings), name, row)


def test_the_page_is_current():
    assert (pathlib.Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_graph_of_presets_at_digits(name):
    row = ROWS[name]
    assert all(f"digits/{preset}" in presets() for preset in row.presets)
    settings = pipeline(**{row.kind: name, "seeds": "0"})
    assert settings.methods == ",".join(row.presets)
    assert {f"trainer-{preset}-0" for preset in row.presets} < set(build(settings).nodes)


def test_each_row_keeps_its_report_and_a_failed_step_ends_the_program(tmp_path, monkeypatch, capsys):
    made = tmp_path / "made"
    made.mkdir()
    (made / "report.html").write_text("numbers")
    outcomes = {"report": Outcome("complete", "", {"report": str(made)}, 1.0)}
    monkeypatch.setattr("components.run.run_pipeline", lambda settings: outcomes)
    settings = config(table="jeat-table3", output_dir=str(tmp_path))
    main(settings)
    kept = tmp_path / "digits" / "jeat-table3.html"
    assert kept.read_text() == "numbers"
    assert f"{kept} has the paper's numbers beside ours" in capsys.readouterr().out
    outcomes["trainer-jem-0"] = Outcome("failed", "the disk is full", {}, 1.0)
    with pytest.raises(SystemExit, match=r"1 of 2 steps failed.*\n  trainer-jem-0: the disk is full"):
        main(settings)


@pytest.mark.parametrize("kind", ["table", "figure"])
def test_all_makes_each_in_turn_and_a_failure_does_not_stop_the_others(kind, tmp_path, monkeypatch, capsys):
    made = []
    asked = [name for name, row in ROWS.items() if row.kind == kind]

    def run_pipeline(settings):
        made.append(settings)
        if len(made) == 2:
            raise ValueError("the data are not here; prepare them")
        state = "failed" if len(made) == 3 else "complete"
        return {"report": Outcome("complete", "", {}, 1.0), "trainer": Outcome(state, "the disk is full", {}, 1.0)}

    monkeypatch.setattr("components.run.run_pipeline", run_pipeline)
    with pytest.raises(SystemExit) as stop:
        main(config(output_dir=str(tmp_path), **{kind: "all"}))
    assert len(made) == len(asked) > 3
    said = capsys.readouterr().out
    for name in asked[:1] + asked[3:]:
        assert f"{name}: " in said
        assert f"{name}: " not in stop.value.code
    assert f"{asked[1]}: the data are not here; prepare them\n" in stop.value.code
    assert f"{asked[2]}: 1 of 2 steps failed; the others were run\n  trainer: the disk is full" in stop.value.code


def test_a_stop_ends_all_of_them(monkeypatch, tmp_path):
    def run_pipeline(settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("components.run.run_pipeline", run_pipeline)
    with pytest.raises(KeyboardInterrupt):
        main(config(table="all", output_dir=str(tmp_path)))


def test_a_dry_run_of_all_plans_each_system_once(monkeypatch, capsys):
    planned = []

    def plan(training):
        planned.append(training)
        raise ValueError("no plan")

    monkeypatch.setattr("jeat_tf.reproduce.command.plan", plan)
    print_plan(config(table="all"))
    assert len(planned) == len(set(planned)) == len({preset for row in ROWS.values() for preset in row.presets} - NOISE)
    said = capsys.readouterr().out
    assert all(f"# {name}\n" in said for name, row in ROWS.items() if row.kind == "table")
    assert "# jem: as above; it is trained once\n" in said


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "rst" not in row.presets])
def test_every_row_is_a_graph_at_the_papers_scale(name):
    settings = pipeline(**{ROWS[name].kind: name, "scale": "paper"})
    assert settings.dataset == ("cifar100" if ROWS[name].cifar100 else "cifar10")
    build(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of --table and --figure"),
        ({"table": "jeat-tabel2"}, 'unknown table "jeat-tabel2".*jeat-table2'),
        ({"table": "jeat-fig7"}, "unknown table"),
        ({"table": "al"}, 'unknown table "al"'),
        ({"figure": "jeat-fig77"}, "jeat-fig7"),
        ({"table": "jeat-table2", "scale": "digit"}, 'unknown scale "digit".*digits'),
        ({"table": "jeat-table1", "figure": "jeat-fig2"}, "expected one of"),
    ],
)
def test_what_is_not_there_names_its_neighbours(settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline(**settings)


@pytest.mark.parametrize("scale", SCALES)
def test_images_are_graded_wherever_the_presets_have_a_judge(scale):
    judge = SCALES[scale].judge
    assert judge == ("judge" if f"{SCALES[scale].folder}/judge" in presets() else "")
    assert ("trainer-judge" in build(pipeline(table="jeat-table2", scale=scale, seeds="0")).nodes) == bool(judge)


def test_a_system_without_a_preset_is_named_and_left_out(capsys):
    settings = pipeline(table="jeat-table3", scale="cifar10_small")
    assert settings.methods == "jem_small,jeat_small"
    assert "no preset: flow_small, igebm_small" in capsys.readouterr().out


def test_a_dry_run_prints_hours_and_memory_of_each_system(capsys):
    print_plan(config(table="jeat-table1"))
    assert "# standard: " in (out := capsys.readouterr().out)
    assert "hours a seed" in out
    assert "MiB" in out
