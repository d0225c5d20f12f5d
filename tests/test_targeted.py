"""Attacks that have to reach a class, and what an evaluation says of each class."""

import numpy as np
import pytest

import jeat_tf as jt
from jeat_tf.attacks.evaluation import NAMES
from jeat_tf.attacks.named import named
from jeat_tf.attacks.orders import by_class, shuffled
from jeat_tf.attacks.targeted import toward, toward_one
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.classes import by_class as fields_of
from jeat_tf.evaluate.classes import over_targets, per_class
from jeat_tf.evaluate.robustness import evaluate

LARGE = jt.Linf(0.4)


def test_next_is_the_class_after_the_label_and_wraps_around():
    ranks = by_class.rank(None, None, np.array([0, 2]), np.zeros((2, 3)))
    assert ranks.tolist() == [[1, 2], [0, 1]]


def test_random_classes_are_others_depend_on_the_image_alone_and_use_all():
    x, labels = np.random.default_rng(0).random((60, 4, 4, 1), np.float32), np.arange(60) % 5
    ranks = shuffled(3).rank(None, x, labels, np.zeros((60, 5)))
    assert (np.sort(ranks, axis=1) == [sorted(set(range(5)) - {label}) for label in labels]).all()
    np.testing.assert_array_equal(shuffled(3).rank(None, x[7:9], labels[7:9], np.zeros((2, 5))), ranks[7:9])
    assert len(np.unique((ranks[:, 0] - labels) % 5)) == 4
    assert (shuffled(4).rank(None, x, labels, np.zeros((60, 5))) != ranks).any()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name == "cw_l2" else name.replace("N", "5")
        for name in NAMES
        if name not in ("clean", "noise", "cw_linf_min", "autoattack-plus", "autoattack-rand")
    ],
)
def test_every_attack_turns_to_a_target_and_only_that_counts(name, trained_net, digit_arrays):
    x, labels = digit_arrays[0][:6], digit_arrays[1][:6]
    attack = toward_one(named(name, LARGE), "next")
    assert {run.target for run in attack.plan.runs} == {0}
    found = attack.robustness(trained_net, x, labels)
    moved = found.correct & ~found.unbroken
    assert moved.any() or name in ("cw_l2_fixed", "fgsm", "fgsm_rs")
    np.testing.assert_array_equal(trained_net(found.x_adv[moved]).numpy().argmax(-1), (labels[moved] + 1) % 10)


def test_all_targets_are_one_attack_for_each_other_class():
    attacks = toward(named("apgd-t", LARGE), "all", 4)
    assert [run.target for attack in attacks for run in attack.plan.runs] == [0, 1, 2]
    assert len({attack.name for attack in attacks}) == 1


def test_a_value_takes_targets(trained_net, digit_arrays):
    x, labels = digit_arrays[0][:12], digit_arrays[1][:12]
    found = jt.attacks.APGD(LARGE)(trained_net, x, labels, targets="random")
    assert found.attack == "apgd-ce to random"
    assert found.robust_accuracy >= jt.attacks.APGD(LARGE)(trained_net, x, labels).robust_accuracy
    with pytest.raises(ValueError, match='expected targets "next" or "random", received "all"'):
        jt.attacks.APGD(LARGE)(trained_net, x, labels, targets="all")


class TestClasses:
    LABELS = np.array([0, 0, 1, 1, 3])
    PREDICTED = np.array([0, 1, 1, 1, 0])

    def test_accuracy_and_confusion_by_hand(self):
        fields = fields_of(self.LABELS, self.LABELS == self.PREDICTED, self.PREDICTED, 4)
        assert fields["per_class"] == (0.5, 1.0, None, 0.0)
        assert fields["confusion"] == ((1, 1, 0, 0), (0, 2, 0, 0), (0, 0, 0, 0), (1, 0, 0, 0))

    def test_of_many_classes_there_is_no_table(self):
        assert "confusion" not in fields_of(self.LABELS, self.LABELS == self.PREDICTED, self.PREDICTED, 21)

    def test_where_images_can_be_moved_by_hand(self):
        moved = [np.array([True, False, False, True, False]), np.array([True, False, False, False, False])]
        fields = over_targets(np.array([0, 0, 1, 2, 2]), moved, np.array([False, True, True, False, False]), 3)
        assert fields["reached"] == ((1, 1, 1), (0, 1, 0), (1, 0, 0))
        assert fields["per_class"] == (0.5, 1.0, 0.0)


def test_the_record_has_targets_classes_and_confusion(run, tmp_path):
    settings = {"num_images": 40, "audit_images": 0, "epsilon": "0.1", "output_dir": str(tmp_path)}
    of_all = replace(EvaluateConfig(), model=run, attacks="clean,pgd5", targets="all", **settings)
    report = evaluate(of_all)
    clean, attacked, worst = report.results
    assert report.targets == "all"
    assert attacked.attack == "pgd5 to all"
    assert np.trace(clean.confusion) == clean.correct
    assert np.sum(clean.confusion) == 40
    assert np.trace(attacked.reached) == attacked.correct == worst.correct < clean.correct
    assert all(some <= before for some, before in zip(attacked.per_class, clean.per_class, strict=True))
    with np.load(tmp_path / "verdicts.npz") as arrays:
        labels = arrays["labels"]
        for shift in range(1, 10):
            key = f"pgd5_to_all_{shift}_linf_0.100000"
            moved = arrays[f"{key}_broken_by"] == "pgd5"
            np.testing.assert_array_equal(arrays[f"{key}_predicted"][moved], (labels[moved] + shift) % 10)

    untargeted = evaluate(replace(of_all, attacks="pgd5", targets="none", resume=False)).results[0]
    assert np.trace(untargeted.confusion) == untargeted.correct < clean.correct
    np.testing.assert_allclose(per_class(labels, labels >= 0, 10), 1.0)
