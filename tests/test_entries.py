"""Leaderboard entries: that of an evaluation, and those of others beside our numbers."""

import dataclasses
import json

import pytest

from jeat_tf.attacks.gradient_masking import Finding, Masking
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.entry import entries_of
from jeat_tf.report.collect import read_runs
from jeat_tf.report.entries import read_entries
from jeat_tf.report.published import side_by_side
from jeat_tf.report.summary import columns_of, summarise
from tests.conftest import linear_net
from tests.made import attack_results, row
from tests.test_report import make_run

CLEAN = row("clean", 45, 0.0)
SILENT = Masking("none found", (Finding("zero gradients", False, "none"),))


def at(attack, correct, norm="linf", epsilon=8 / 255):
    return dataclasses.replace(row(attack, correct, epsilon), norm=norm)


def entry(rows, **changes):
    report = dataclasses.replace(attack_results((CLEAN, *rows), masking=SILENT), **changes)
    return entries_of(report, linear_net(), replace(TrainConfig(), net="wide_resnet"))


class TestOurs:
    def test_has_robustbenchs_fields(self):
        found = entry([at("autoattack", 25), at("pgd20", 30), at("worst case", 25)])["entry_linf_8_255.json"]
        assert (found["clean_acc"], found["autoattack_acc"], found["eps"]) == ("90.00", "50.00", "8/255")
        assert (found["architecture"], found["dataset"], found["threat_model"]) == ("wide_resnet", "digits", "Linf")
        assert found["unreliable"] is False
        assert "external" not in found
        assert found["authors"] is None
        assert json.loads(json.dumps(found)) == found

    def test_a_lower_worst_case_is_external(self):
        found = entry([at("autoattack", 25), at("cw_linf50", 20), at("worst case", 20)])["entry_linf_8_255.json"]
        assert found["external"] == "40.00"

    def test_a_sign_of_hidden_gradients_makes_it_unreliable(self):
        rows = [at("autoattack", 25), at("worst case", 25)]
        masked = Masking("suspected", (Finding("zero gradients", True, "half"),))
        found = entry(rows, gradient_masking=masked)["entry_linf_8_255.json"]
        assert found["unreliable"] is True
        assert "zero gradients" in found["footnote"]
        check = Finding("layers without gradient", True, "quantise")
        assert entry(rows, checks=(check,))["entry_linf_8_255.json"]["unreliable"] is True
        assert "no audit" in entry(rows, gradient_masking=None)["entry_linf_8_255.json"]["footnote"]

    def test_there_is_one_for_each_ball_and_none_for_other_attacks(self):
        both = [
            at("autoattack", 25),
            at("worst case", 25),
            at("autoattack", 20, "l2", 0.5),
            at("worst case", 20, "l2", 0.5),
        ]
        assert set(entry(both)) == {"entry_linf_8_255.json", "entry_l2_0.5.json"}
        assert entry([at("autoattack-fast", 25), at("worst case", 25)]) == {}
        assert entry([at("autoattack to next", 25), at("worst case", 25)]) == {}


THEIRS = {"dataset": "digits", "architecture": "WideResNet-28-10", "eps": "8/255", "clean_acc": "93.73"}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model_info" / "digits" / "Linf"
    place.mkdir(parents=True)
    entries = {
        "Strong2024": THEIRS | {"autoattack_acc": "71.28", "external": "54.20", "unreliable": True},
        "Honest2023": THEIRS | {"autoattack_acc": "60.00", "unreliable": False},
    }
    for name, content in entries.items():
        (place / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "model_info" / "digits" / "corruptions.json").write_text(
        '{"dataset": "digits", "corruptions_acc": "80"}'
    )
    return tmp_path / "model_info"


class TestTheirs:
    def test_are_ordered_by_the_lower_figure(self, folder):
        (table,) = read_entries(str(folder))
        assert [row["name"] for row in table["rows"]] == ["Honest2023", "Strong2024"]
        assert table["rows"][1]["values"] == ["WideResNet-28-10", "93.73%", "71.28%", "54.20%", "yes"]

    def test_stand_beside_runs_of_the_same_data_at_the_same_radius(self, folder, tmp_path):
        rows = (CLEAN, at("autoattack", 25), at("worst case", 25))
        make_run(tmp_path / "runs" / "a", evaluation=attack_results(rows))
        methods, _ = summarise(read_runs(str(tmp_path / "runs"))[0])
        tables = side_by_side(methods, columns_of(methods), read_entries(str(folder)))
        ours = [one for one in tables if one.published["title"].startswith("Leaderboard")]
        assert len(ours) == 1
        assert ours[0].rows[0][3][1:4] == ["90.0", "50.0", "50.0"]
        assert ours[0].titles[1:4] == ["clean", "autoattack 8/255", "worst case 8/255"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (THEIRS, "expected a text autoattack_acc in .*Bad.json"),
            (THEIRS | {"autoattack_acc": "high"}, "per cent in the leaderboard entry .*Bad.json"),
            (THEIRS | {"autoattack_acc": "50", "threat_model": "l9"}, "received l9"),
        ],
    )
    def test_a_bad_one_is_named(self, content, message, folder):
        (folder / "digits" / "Linf" / "Bad.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            read_entries(str(folder))

    def test_none_at_all(self, tmp_path):
        with pytest.raises(ValueError, match="found none"):
            read_entries(str(tmp_path))
        with pytest.raises(ValueError, match="which is no folder"):
            read_entries(str(tmp_path / "not"))
