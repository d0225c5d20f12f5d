"""Several norms at once, and accuracy over epsilon from least distances."""

import dataclasses

import numpy as np
import pytest

import jeat_tf as jt
from jeat_tf.attacks.named import named
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.evaluate.distances import Distances, curves_of
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.evaluate.threats import balls_of
from jeat_tf.report.charts import class_tables
from jeat_tf.report.measures import measured
from jeat_tf.runs.results import AttackResults
from tests.made import attack_results, row


def config(run, folder, **settings):
    small = {"num_images": 30, "audit_images": 0, "output_dir": str(folder)}
    return replace(EvaluateConfig(), model=run, **small | settings)


def test_an_image_counts_in_the_worst_of_all_if_it_stands_in_every_ball(run, tmp_path):
    settings = {"attacks": "clean,pgd5,fgsm", "norm": "linf,l2,l1", "epsilon": "0.06,0.35,1.5"}
    report = evaluate(config(run, tmp_path, **settings))
    assert read_record(AttackResults, str(tmp_path / "results.json")) == report
    assert [(row.attack, row.norm) for row in report.results] == [
        ("clean", None), ("pgd5", "linf"), ("fgsm", "linf"), ("pgd5", "l2"), ("fgsm", "l2"), ("pgd5", "l1"),
        ("fgsm", "l1"), ("worst case", "linf"), ("worst case", "l2"), ("worst case", "l1"), ("worst of all", None),
    ]  # fmt: skip
    with np.load(tmp_path / "verdicts.npz") as arrays:
        stands = [arrays[name] for name in arrays if name.endswith("_correct")]
    assert report.results[-1].correct == np.logical_and.reduce(stands).sum()
    assert report.results[-1].correct <= min(row.correct for row in report.results[:-1])
    assert len({row.correct for row in report.results}) > 3
    assert [row.epsilon_text for row in report.results[-4:]] == ["0.06", "0.35", "1.5", ""]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"norm": "linf,l2", "epsilon": "8/255"},
            "expected a radius for each norm of linf,l2, e.g. --epsilon=8/255,0.5",
        ),
        ({"norm": "linf,l2"}, "received none"),
        ({"norm": "linf,l3"}, "expected --norm=linf, l2, l1"),
        ({"norm": "l2,l2", "epsilon": "1,2"}, "received l2,l2"),
    ],
)
def test_norms_and_radii_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        balls_of(replace(EvaluateConfig(), **settings), None)


def test_a_curve_by_hand():
    correct, broken = np.array([True, True, True, False]), np.array([True, True, False, False])
    (curve,) = curves_of({"fab": Distances("linf", correct, broken, np.array([0.1, 0.4, 0.0, 0.0]))})
    assert curve.epsilons[0] == 0
    assert curve.epsilons[-1] == pytest.approx(0.4)
    counts = dict(zip(np.round(curve.epsilons, 2), curve.correct, strict=True))
    assert (counts[0.0], counts[0.09], counts[0.11], counts[0.4]) == (3, 3, 2, 1)


def test_least_distances_are_a_curve_a_figure_and_part_of_the_worst_case(run, tmp_path):
    settings = {"attacks": "clean,pgd5,fab_min", "epsilon": "0.1,0.05", "num_images": 12}
    report = evaluate(config(run, tmp_path, **settings))
    (curve,) = report.curves
    assert (curve.attack, curve.norm, curve.images) == ("fab_min linf", "linf", 12)
    assert curve.correct[0] == report.results[0].correct
    assert curve.correct[-1] == 0  # whatever is classified correctly has a neighbour of another class
    assert list(curve.correct) == sorted(curve.correct, reverse=True)
    with np.load(tmp_path / "verdicts.npz") as arrays:
        distance = arrays["fab_min_linf_0.100000_distance"]
        stands = {e: arrays[f"pgd5_linf_{e:.6f}_correct"] & ~(distance <= e) for e in (0.1, 0.05)}
    for worst in report.results[-2:]:
        assert worst.correct == stands[worst.epsilon].sum()
    with np.load(tmp_path / "distances_linf.npz") as arrays:
        np.testing.assert_array_equal(arrays["fab_min_linf"], curve.correct)
    assert (tmp_path / "distances_linf.png").exists()


@pytest.mark.parametrize("ball", [jt.Linf(0.1), jt.L2(0.5), pytest.param(jt.L1(2.0), marks=pytest.mark.slow)])
def test_fab_min_is_no_further_than_fab_toward_a_target(ball, trained_net, digit_arrays):
    x, labels = digit_arrays[0][:6], digit_arrays[1][:6]
    nearest = named("fab_min", ball)
    assert not nearest.in_ball
    found = nearest.robustness(trained_net, x, labels)
    assert not found.unbroken.any()
    targeted = named("fab-t", ball).robustness(trained_net, x, labels)
    distance = ball.distance(found.x_adv, x).numpy()
    assert (distance[~targeted.unbroken] <= ball.epsilon * 1.01).all()


class TestReport:
    ROWS = (
        dataclasses.replace(row("clean", 40, 0.0), per_class=(0.6, 1.0), confusion=((15, 10), (0, 25))),
        dataclasses.replace(row("pgd20", 20), norm="linf", per_class=(0.2, 0.6), confusion=((5, 20), (10, 15))),
        dataclasses.replace(row("pgd20", 25, 0.5), norm="l2", per_class=(0.4, 0.6)),
        dataclasses.replace(row("worst case", 20), norm="linf"),
        dataclasses.replace(row("worst case", 25, 0.5), norm="l2"),
        dataclasses.replace(
            row("worst of all", 18), epsilon=None, protocol="an image counts if nothing broke it in any of linf 0.1"
        ),
    )

    @pytest.fixture
    def run(self):
        class Made:
            training = None
            report = dataclasses.replace(attack_results(self.ROWS), norm="linf,l2")
            reports = {"evaluation/results.json": report}

        return Made

    def test_each_norm_has_its_columns_and_the_worst_class_is_a_number(self, run):
        found = {value.column.title: value for value in measured(run)}
        assert found["pgd20 0.1"].number == 40
        assert found["pgd20 l2 0.5"].number == 50
        assert found["worst of linf, l2"].number == 36
        assert found["worst class, pgd20 0.1"].number == pytest.approx(20)
        assert not found["worst class, pgd20 0.1"].column.main
        assert found["worst case l2 0.5"].column.protocol.startswith("an image counts if no attack broke it: pgd20")

    def test_classes_under_attack_are_drawn(self, run):
        class Method:
            name, shown = "net", run

        (chart,) = class_tables([Method])
        assert chart.png[1:4] == b"PNG"
        assert "net" in chart.caption
