"""The verb evaluate: what it writes, what it resumes, what it refuses, and what its audit says."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.ensemble import Standing
from jeat_tf.attacks.named import named
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.targeted import toward_one
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.balls import Linf
from jeat_tf.core.files import whole_file
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.data.datasets import as_floats, open_dataset
from jeat_tf.evaluate.attack_rows import Column, columns, results_of
from jeat_tf.evaluate.command import main
from jeat_tf.evaluate.distances import Distances
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.models.files import load_net, read_net
from jeat_tf.runs import verdicts as stored_standing
from jeat_tf.runs.results import ATTACKS, AttackResults
from jeat_tf.runs.verdict_parts import forget, state_file
from tests.conftest import linear_net, tiny_cnn

ROOT = pathlib.Path(__file__).parents[1]


def config(run, folder, **settings):
    small = {"num_images": 40, "audit_images": 0, "output_dir": str(folder)}
    return replace(EvaluateConfig(), model=run, **small | settings)


def accuracies(report):
    return {(row.attack, round(row.epsilon or 0, 3)): row.accuracy for row in report.results}


@pytest.fixture(scope="module")
def report(run):
    attacks = "clean,fgsm,pgd2,pgd20,energy,energy1"
    return evaluate(replace(EvaluateConfig(), model=run, attacks=attacks, epsilon="0.05,0.1", save_adversarial=True))


class TestReport:
    def test_is_what_is_written(self, report, run):
        assert read_record(AttackResults, os.path.join(run, "evaluation", ATTACKS)) == report
        assert report.provenance.command
        assert not os.path.exists(pathlib.Path(run, "evaluation/state"))

    def test_accuracy_is_that_of_the_net(self, report, run, digits):
        images, labels = digits.arrays("test")
        predicted = load_net(run)(as_floats(images)).numpy().argmax(-1)
        assert accuracies(report)["clean", 0] == pytest.approx(np.mean(predicted == labels))
        assert report.results[0].images == 397

    def test_attacks_hurt_in_the_order_they_should(self, report):
        of = accuracies(report)
        for epsilon in (0.05, 0.1):
            assert of["clean", 0] > of["fgsm", epsilon] >= of["pgd20", epsilon] >= of["worst case", epsilon]
            assert of["pgd2", epsilon] >= of["pgd20", epsilon]
            assert of["energy1", epsilon] >= of["energy", epsilon]
        assert of["pgd20", 0.1] < of["pgd20", 0.05]

    def test_what_knows_no_epsilon_is_run_once(self, run, tmp_path):
        settings = {"attacks": "cw_l2_fixed,pgd1", "epsilon": "0.1,0.2", "num_images": 6}
        rows = evaluate(config(run, tmp_path, **settings)).results
        assert [row.attack for row in rows] == ["cw_l2_fixed", "pgd1", "pgd1", "worst case", "worst case"]
        assert rows[0].epsilon is None

    def test_every_image_has_a_verdict_and_its_adversarial_image(self, report, run, digits):
        images, labels = digits.arrays("test")
        net = load_net(run)
        with np.load(pathlib.Path(run, "evaluation/verdicts.npz"), allow_pickle=False) as arrays:
            np.testing.assert_array_equal(arrays["labels"], labels)
            for row in report.results:
                if row.attack in ("pgd20", "energy"):
                    key = f"{row.attack}_linf_{row.epsilon:.6f}"
                    correct, x_adv = arrays[f"{key}_correct"], arrays[f"{key}_x_adv"]
                    assert correct.mean() == pytest.approx(row.accuracy)
                    np.testing.assert_array_equal(net(x_adv).numpy().argmax(-1) == labels, correct)
                    assert np.abs(x_adv - as_floats(images)).max() <= row.epsilon + 1e-6
                    assert arrays[f"{key}_distance"].max() == pytest.approx(row.largest_distance)
                    assert row.gradients == arrays[f"{key}_gradients"].sum()

    def test_intervals_hold_the_accuracy(self, report):
        for row in report.results:
            low, high = row.interval_95
            assert low <= row.accuracy <= high

    def test_the_command_prints_a_table(self, run, tmp_path):
        command = [sys.executable, "-m", "jeat_tf.evaluate", f"--model={run}", "--attacks=clean,apgd-ce,pgd5x2"]
        done = subprocess.run(
            [*command, "--num_images=20", f"--output_dir={tmp_path}", "--epsilon=8/255,26/255"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        for word in ("apgd-ce", "26/255", "worst case", "gradient masking: none found", "results.json"):
            assert word in done.stdout
        assert re.search(r"^apgd-ce 26/255: [\d.]+% unbroken, \d+ s$", done.stdout, re.M)
        assert "%|" not in done.stderr  # bars are for terminals


class TestResume:
    ATTACKS = "pgd5x3,apgd-ce"

    def test_after_a_kill_the_numbers_are_the_same(self, run, tmp_path, monkeypatch):
        whole = evaluate(config(run, tmp_path / "whole", attacks=self.ATTACKS, batch_size=9))
        monkeypatch.setattr(stored_standing, "_SAVE_EVERY", 0.0)
        write = stored_standing.StoredStanding._write
        calls = []

        def killed(self, seconds):
            write(self, seconds)
            calls.append(seconds)
            if len(calls) in (4, 19):
                raise KeyboardInterrupt

        monkeypatch.setattr(stored_standing.StoredStanding, "_write", killed)
        interruptions = 0
        dead = subprocess.Popen(["true"])
        dead.wait()
        while True:
            try:
                again = evaluate(config(run, tmp_path / "again", attacks=self.ATTACKS, batch_size=9))
                break
            except KeyboardInterrupt:
                interruptions += 1
                with whole_file(str(tmp_path / "x.npz")) as living:
                    left = living.replace(str(tmp_path), str(tmp_path / "again/state")).replace(
                        f"-{os.getpid()}-", f"-{dead.pid}-"
                    )
                pathlib.Path(left).write_bytes(b"half a file of a process that was killed")
        assert interruptions == 2
        assert not (tmp_path / "again/state").exists()
        for a, b in zip(whole.results, again.results, strict=True):
            for name in ("attack", "accuracy", "broken_by", "forwards", "gradients", "largest_distance"):
                assert getattr(a, name) == getattr(b, name)
        with np.load(tmp_path / "whole/verdicts.npz") as a, np.load(tmp_path / "again/verdicts.npz") as b:
            assert set(a) == set(b)
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])

    @pytest.mark.slow
    def test_a_terminated_process_leaves_a_state_to_go_on_with(self, run, tmp_path):
        command = [sys.executable, "-m", "jeat_tf.evaluate", f"--model={run}", "--attacks=square,autoattack"]
        process = subprocess.Popen(
            [*command, f"--output_dir={tmp_path}", "--batch_size=20", "--audit_images=0", "--epsilon=0.05"],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while not (tmp_path / "state").exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped" in errors
        assert not (tmp_path / "results.json").exists()
        assert list((tmp_path / "state").glob("[!.]*.npz"))

    @pytest.mark.slow
    def test_a_foreign_or_broken_state_is_refused(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr(stored_standing.StoredStanding, "finish", lambda *_: (_ for _ in ()).throw(OSError("full")))
        monkeypatch.setattr(stored_standing, "_SAVE_EVERY", 0.0)
        first = config(run, tmp_path, attacks="pgd5")
        with pytest.raises(OSError, match="full"):
            evaluate(first)
        monkeypatch.undo()
        with pytest.raises(ValueError, match="state of another evaluation.*seed: 0 -> 1"):
            evaluate(replace(first, seed=1))
        (state,) = (tmp_path / "state").glob("*.npz")
        state.write_bytes(state.read_bytes()[:100])
        with pytest.raises(ValueError, match="cannot read the state.*--noresume"):
            evaluate(first)
        assert accuracies(evaluate(replace(first, resume=False)))


class TestWhatItReads:
    def test_a_net_from_elsewhere_needs_data_and_epsilon(self, tmp_path):
        linear_net().save(tmp_path / "theirs.keras")
        theirs = replace(EvaluateConfig(), model=str(tmp_path / "theirs.keras"), attacks="clean")
        with pytest.raises(ValueError, match="--epsilon"):
            evaluate(theirs)
        with pytest.raises(ValueError, match="--dataset"):
            evaluate(replace(theirs, epsilon="0.1"))
        assert evaluate(replace(theirs, epsilon="0.1", dataset="digits")).results[0].images == 397

    def test_a_saved_model_gives_the_same_numbers(self, run, tmp_path):
        load_net(run).export(tmp_path / "exported", verbose=False)
        settings = {"attacks": "clean,pgd5", "epsilon": "0.1", "dataset": "digits"}
        exported = evaluate(config(str(tmp_path / "exported"), tmp_path / "a", trust=True, **settings))
        assert accuracies(exported) == accuracies(evaluate(config(run, tmp_path / "b", **settings)))

    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_an_npz_file_gives_the_same_numbers(self, dtype, run, tmp_path, digits):
        images, labels = digits.arrays("test")
        np.savez(tmp_path / "mine.npz", images=images if dtype == "uint8" else as_floats(images), labels=labels)
        settings = {"attacks": "clean,pgd5", "epsilon": "0.1"}
        mine = evaluate(config(run, tmp_path / "a", dataset=str(tmp_path / "mine.npz"), **settings))
        assert accuracies(mine) == accuracies(evaluate(config(run, tmp_path / "b", **settings)))
        assert mine.images == "images 0 to 39 of the 397 of the file, in file order"

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": np.zeros((2, 8, 8, 1), np.uint8)}, "no labels"),
            ({"images": np.zeros((2, 8, 8, 1), np.uint8), "labels": np.zeros(3, int)}, "a label for each"),
            ({"images": np.full((2, 8, 8, 1), 9.0), "labels": np.zeros(2, int)}, "divide by 255"),
            ({"images": np.zeros((2, 8, 8, 1), int), "labels": np.zeros(2, int)}, "float images"),
            ({"images": np.zeros((2, 8, 8, 1), np.uint8), "labels": np.array([0, 10])}, "0..9"),
            ({"images": np.zeros((2, 9, 9, 1), np.uint8), "labels": np.zeros(2, int)}, r"\[9, 9, 1\]"),
        ],
    )
    def test_bad_files(self, arrays, message, run, tmp_path):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=message):
            evaluate(config(run, tmp_path, dataset=str(tmp_path / "bad.npz"), num_images=0, attacks="pgd5"))
        assert not (tmp_path / "results.json").exists()

    def test_a_file_that_is_no_archive(self, run, tmp_path):
        (tmp_path / "text.npz").write_text("not an archive")
        with pytest.raises(ValueError, match="cannot use"):
            evaluate(config(run, tmp_path, dataset=str(tmp_path / "text.npz")))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"attacks": "clean,pgdd20"}, "did you mean pgd20"),
            ({"attacks": "pgd0"}, "unknown attack"),
            ({"attacks": "pgd00"}, "unknown attack"),
            ({"attacks": ","}, "expected --attacks"),
            ({"epsilon": "8.0"}, "8/255"),
            ({"epsilon": "0"}, "epsilon > 0"),
            ({"epsilon": "-1/255"}, "epsilon"),
            ({"epsilon": "abc"}, "such as 0.03 or 8/255"),
            ({"norm": "l2"}, "an l2 radius has no default"),
            ({"norm": "l1", "epsilon": "0.03"}, r"did you mean Linf\(0.03\)"),
            ({"num_images": 1000}, "0..397"),
            ({"batch_size": 0}, "batch_size at least 1"),
            ({"split": "tset"}, "no split"),
        ],
    )
    def test_bad_settings(self, settings, message, run, tmp_path):
        with pytest.raises(ValueError, match=message):
            evaluate(config(run, tmp_path, **settings))

    def test_a_net_that_does_not_fit(self, tmp_path):
        tiny_cnn(num_classes=7).save(tmp_path / "seven.keras")
        linear_net((9, 9, 1)).save(tmp_path / "nine.keras")
        for name, message in (("seven", "10 logits"), ("nine", r"\[8, 8, 1\]")):
            theirs = str(tmp_path / f"{name}.keras")
            with pytest.raises(ValueError, match=message):
                evaluate(config(theirs, tmp_path, epsilon="0.1", dataset="digits"))


def fired(report):
    return {
        f.name
        for f in [*report.checks, *(report.gradient_masking.findings if report.gradient_masking else ())]
        if f.fired
    }


class TestAudit:
    """On the trained net and on what people do to nets."""

    @pytest.fixture(scope="class")
    def plain_run(self, trained_net, tmp_path_factory):
        folder = tmp_path_factory.mktemp("plain")
        trained_net.save(folder / "net.keras")
        return str(folder)

    def audited(self, net, folder, **settings):
        net.save(folder / "net.keras")
        settings = {"attacks": "pgd5", "epsilon": "0.1", "dataset": "digits", "num_images": 60} | settings
        return evaluate(config(str(folder / "net.keras"), folder, audit_images=50, **settings))

    def changed(self, run, before=None, after=None):
        net = load_net(run)
        inputs = keras.Input((8, 8, 1))
        logits = net(before(inputs) if before else inputs)
        return keras.Model(inputs, after(logits) if after else logits)

    def test_is_silent_on_an_adversarially_trained_net(self, run, tmp_path):
        report = self.audited(load_net(run), tmp_path)
        assert fired(report) == set()
        assert report.gradient_masking.verdict == "none found"

    def test_is_silent_on_an_ordinary_net(self, trained_net, tmp_path):
        assert fired(self.audited(trained_net, tmp_path)) == set()

    def test_logits_times_1000(self, run, tmp_path):
        report = self.audited(self.changed(run, after=keras.layers.Rescaling(1000.0)), tmp_path)
        assert fired(report) & {"zero gradients", "vanishing gradients"}
        assert report.gradient_masking.verdict == "suspected"

    def test_rounded_inputs(self, plain_run, tmp_path):
        report = self.audited(self.changed(plain_run, before=lambda x: keras.ops.round(8 * x) / 8), tmp_path)
        assert {"zero gradients", "black box beats gradients"} <= fired(report)

    def test_the_fast_version_takes_the_slow_attacks_to_help(self, run, tmp_path):
        net = self.changed(run, before=lambda x: keras.ops.round(8 * x) / 8)
        report = self.audited(net, tmp_path, attacks="autoattack-fast", num_images=12)
        (row, _) = report.results
        assert "of all images, because the audit" in row.protocol
        assert row.broken_by.get("square", 0) > 0

    def test_a_softmax_is_taken_off_and_said(self, run, tmp_path):
        report = self.audited(self.changed(run, after=keras.layers.Softmax()), tmp_path)
        assert report.changes == ("its softmax was taken off exactly, by building its head again without it",)
        assert fired(report) == set()
        with pytest.raises(ValueError, match="ends in softmax"):
            self.audited(self.changed(run, after=keras.layers.Softmax()), tmp_path, head="logits")

    def test_a_random_net_is_averaged_and_named(self, run, tmp_path):
        class Noisy(tf.Module):
            def __init__(self):
                super().__init__()
                self.net = load_net(run)

            @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1])])
            def serve(self, x):
                return {"logits": self.net(x) + tf.random.normal([tf.shape(x)[0], 10])}

        noisy = Noisy()
        tf.saved_model.save(noisy, str(tmp_path / "noisy"), signatures={"serving_default": noisy.serve})
        settings = {"attacks": "clean,pgd5", "epsilon": "0.1", "dataset": "digits", "eot_samples": 5}
        report = evaluate(config(str(tmp_path / "noisy"), tmp_path, trust=True, **settings))
        assert "randomised output" in fired(report)
        assert "means over 5 passes" in report.expectation_over_transformation
        assert report.results[1].gradients % 5 == 0

    def test_batch_statistics_at_inference_are_named(self, run, tmp_path):
        class BatchDependent(tf.Module):
            def __init__(self):
                super().__init__()
                self.net = load_net(run)

            @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1])])
            def serve(self, x):
                logits = self.net(x)
                return {"logits": logits - tf.reduce_mean(logits, axis=0)}

        net = BatchDependent()
        tf.saved_model.save(net, str(tmp_path / "batch"), signatures={"serving_default": net.serve})
        settings = {"attacks": "clean", "epsilon": "0.1", "dataset": "digits", "trust": True}
        report = evaluate(config(str(tmp_path / "batch"), tmp_path, **settings))
        assert fired(report) == {"batch-dependent output"}

    def test_normalisation_outside_the_net_is_named(self, run, tmp_path):
        theirs = self.changed(run, before=keras.layers.Rescaling(1 / 255))
        assert "normalisation outside the net" in fired(self.audited(theirs, tmp_path, attacks="clean"))

    def test_transfer_from_another_net(self, plain_run, tmp_path):
        net = self.changed(plain_run, before=lambda x: keras.ops.round(8 * x) / 8)
        report = self.audited(net, tmp_path, transfer_from=plain_run)
        assert "transfer beats gradients" in fired(report)
        assert report.transfer_net.images == 60
        assert report.transfer_net.accuracy > 0.8
        linear_net().save(tmp_path / "untrained.keras")
        with pytest.raises(ValueError, match="--transfer_from=.*untrained.keras, received one that classifies"):
            self.audited(net, tmp_path, transfer_from=str(tmp_path / "untrained.keras"))


def test_refinement_is_attacked_with_and_without_knowledge_of_it(run, tmp_path):
    settings = {"attacks": "clean,pgd5", "refine_steps": 3, "eot_samples": 2, "epsilon": "0.1"}
    report = evaluate(config(run, tmp_path, **settings))
    of = accuracies(report)
    assert "refined by 3 random steps" in report.expectation_over_transformation
    assert of["worst case", 0.1] <= min(of["pgd5", 0.1], of["pgd5 on the net alone", 0.1])


class TestAJudgeThatIsNotAttacked:
    """Of a refined net the net alone is attacked too, and the refined one decides whether that broke an image."""

    LABELS = np.array([0, 1, 2, 3])

    def found(self, name, *, judged, targets="none"):
        """Of four images of which the attack broke the last three, as a judge sees them that says `judged`."""
        plain = Oracle(lambda x: tf.one_hot(tf.zeros(len(x), tf.int32), 4))
        judge = Oracle(lambda x: tf.one_hot(tf.cast(x[:, 0, 0, 0], tf.int32), 4))
        attack = named(name, Linf(0.1))
        if targets != "none":
            attack = toward_one(attack, targets)
        column = Column(f"{name} on the net alone", Linf(0.1), attack, plain, judge)
        standing = Standing(np.full(4, True), np.broadcast_to(np.array(judged)[:, None, None, None], (4, 2, 2, 1)))
        standing.broken_by[1:] = 0
        standing.predicted[1:] = (self.LABELS[1:] + 1) % 4
        standing.distance[1:] = 0.05
        logits = np.eye(4, dtype=np.float32)[self.LABELS]
        return results_of(EvaluateConfig(), column, self.LABELS, logits, standing, 0.0)

    @pytest.mark.parametrize("name", ["fab_min", "pgd5"])
    def test_what_the_judge_still_classifies_is_not_broken(self, name):
        row, found = self.found(name, judged=[0, 1, 2, 0])
        assert (row.accuracy, row.median_distance) == (0.75, pytest.approx(0.05))
        np.testing.assert_array_equal(found["success"], [False, False, False, True])
        nearest = Distances("linf", np.full(4, True), found["success"], found["distance"])
        np.testing.assert_array_equal(nearest.unbroken(0.1), found["correct"])

    def test_a_target_counts_only_where_the_judge_is_moved_to_it(self):
        row, found = self.found("pgd5", judged=[0, 2, 0, 3], targets="next")
        np.testing.assert_array_equal(found["success"], [False, True, False, False])
        assert row.accuracy == 0.75


@pytest.mark.parametrize("shard", ["", "2/3"])
def test_the_state_of_an_attack_with_a_step_of_its_own_is_forgotten_as_any_other(shard, tmp_path):
    oracle = Oracle(lambda x: x)
    [column] = columns(["pgd20@2/255"], [Linf(0.1)], oracle, None, False, (8, 8, 1))
    path = state_file(str(tmp_path / "state"), column.key, shard)
    assert os.path.dirname(path) == str(tmp_path / "state")
    (tmp_path / "state").mkdir()
    pathlib.Path(path).write_bytes(b"")
    forget(str(tmp_path / "state"), shard)
    assert not (tmp_path / "state").exists()


def test_net_and_images_are_read_once_for_all_measures(run, tmp_path, monkeypatch):
    read = []
    for name, function in (("models.files.read_net", read_net), ("config.build.open_dataset", open_dataset)):
        counted = lambda *args, name=name, function=function, **more: read.append(name) or function(*args, **more)  # noqa: E731
        monkeypatch.setattr(f"jeat_tf.{name}", counted)
    main(config(run, tmp_path, attacks="clean", calibration=True, num_images=20))
    assert read == ["models.files.read_net", "config.build.open_dataset"]
    assert {"results.json", "calibration.json"} <= set(os.listdir(tmp_path))
