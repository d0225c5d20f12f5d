import pathlib

import pytest

from components.pipeline import build
from jeat_tf.core.flat import replace
from jeat_tf.methods.presets import presets
from jeat_tf.reproduce.command import pipeline_of, print_plan
from jeat_tf.reproduce.rows import ROWS, ReproduceConfig, page


def config(**settings):
    return replace(ReproduceConfig(), **settings)


def test_the_page_is_current():
    assert (pathlib.Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_graph_of_presets_at_digits(name):
    row = ROWS[name]
    assert all(f"digits/{preset}" in presets() for preset in row.presets)
    settings = pipeline_of(config(**{row.kind: name, "seeds": "0"}))
    assert settings.methods == ",".join(row.presets)
    assert {f"trainer-{preset}-0" for preset in row.presets} < set(build(settings).nodes)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "rst" not in row.presets])
def test_every_row_is_a_graph_at_the_papers_scale(name):
    settings = pipeline_of(config(**{ROWS[name].kind: name, "scale": "paper"}))
    assert settings.dataset == ("cifar100" if ROWS[name].cifar100 else "cifar10")
    build(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected one of --table and --figure"),
        ({"table": "jeat-tabel2"}, 'unknown table "jeat-tabel2".*jeat-table2'),
        ({"table": "jeat-fig7"}, "unknown table"),
        ({"figure": "jeat-fig77"}, "jeat-fig7"),
        ({"table": "jeat-table2", "scale": "digit"}, 'unknown scale "digit".*digits'),
        ({"table": "jeat-table1", "figure": "jeat-fig2"}, "expected one of"),
    ],
)
def test_what_is_not_there_names_its_neighbours(settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline_of(config(**settings))


def test_a_system_without_a_preset_is_named_and_left_out(capsys):
    settings = pipeline_of(config(table="jeat-table3", scale="cifar10_small"))
    assert settings.methods == "jem_small,jeat_small"
    assert "no preset: flow_small, igebm_small" in capsys.readouterr().out


def test_a_dry_run_prints_hours_and_memory_of_each_system(capsys):
    print_plan(config(table="jeat-table1"))
    assert "# standard: " in (out := capsys.readouterr().out)
    assert "hours a seed" in out
    assert "MiB" in out
