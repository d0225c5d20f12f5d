"""evaluate, sample and prepare, on a run of a few steps."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from jeat_tf.artifacts import load_net
from jeat_tf.cli import print_settings
from jeat_tf.config import EvaluateConfig, PrepareConfig, SampleConfig, TrainConfig, replace
from jeat_tf.evaluate import evaluate
from jeat_tf.evaluation import wilson_interval
from jeat_tf.prepare import prepare
from jeat_tf.sample import sample
from jeat_tf.train import train
from tests.conftest import linear_net, tiny_cnn
from tests.test_config import parsed

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    folder = str(tmp_path_factory.mktemp("verbs") / "run")
    settings = {"method": "pgd_at", "epochs": 4, "learning_rate": 1e-2, "epsilon": 0.1, "robust_every": 0}
    train(replace(TrainConfig(), model_dir=folder, **settings))
    return folder


class TestEvaluate:
    @pytest.fixture(scope="class")
    def report(self, run):
        return evaluate(replace(EvaluateConfig(), model=run, attacks="clean,fgsm,pgd2,pgd20,energy,energy1"))

    def test_writes_what_it_returns(self, report, run):
        assert json.loads(pathlib.Path(run, "evaluation/results.json").read_text()) == json.loads(json.dumps(report))
        assert {"command", "tensorflow", "keras", "cpus"} <= set(report["provenance"])

    def test_accuracy_is_that_of_the_net(self, report, run, digits):
        images, labels = digits.arrays("test")
        predicted = np.argmax(load_net(run)(images / np.float32(255)), -1)
        assert report["attacks"]["clean"]["accuracy"] == pytest.approx(np.mean(predicted == labels))
        assert report["attacks"]["clean"]["images"] == 397

    def test_attacks_hurt_in_the_order_they_should(self, report):
        accuracy = {name: result["accuracy"] for name, result in report["attacks"].items()}
        assert accuracy["clean"] > accuracy["fgsm"] >= accuracy["pgd20"]
        assert accuracy["pgd2"] >= accuracy["pgd20"]
        assert accuracy["energy1"] >= accuracy["energy"]

    def test_every_image_has_a_verdict_inside_the_ball(self, report, run):
        with np.load(pathlib.Path(run, "evaluation/verdicts.npz"), allow_pickle=False) as verdicts:
            for name, result in report["attacks"].items():
                assert verdicts[f"{name}_correct"].mean() == pytest.approx(result["accuracy"])
                assert verdicts[f"{name}_distance"].max() <= 0.1 + 1e-6

    def test_epsilon_comes_from_the_run_unless_given(self, report, run, tmp_path):
        assert report["epsilon"] == 0.1
        other = evaluate(
            replace(EvaluateConfig(), model=run, epsilon=0.2, attacks="pgd20", output_dir=str(tmp_path), num_images=50)
        )
        assert other["epsilon"] == 0.2
        assert other["attacks"]["pgd20"]["images"] == 50

    def test_a_net_from_elsewhere_needs_data_and_epsilon(self, tmp_path):
        linear_net().save(tmp_path / "theirs.keras")
        config = replace(EvaluateConfig(), model=str(tmp_path / "theirs.keras"), attacks="clean")
        with pytest.raises(ValueError, match="--epsilon"):
            evaluate(config)
        with pytest.raises(ValueError, match="--dataset"):
            evaluate(replace(config, epsilon=0.1))
        assert evaluate(replace(config, epsilon=0.1, dataset="digits"))["attacks"]["clean"]["images"] == 397

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"attacks": "clean,pgdd20"}, "did you mean pgd20"),
            ({"attacks": "pgd0"}, "unknown attack"),
            ({"attacks": "pgd00"}, "unknown attack"),
            ({"epsilon": 8.0}, "8/255"),
            ({"num_images": 1000}, "at most 397"),
            ({"split": "tset"}, "no split"),
        ],
    )
    def test_bad_settings(self, settings, message, run):
        with pytest.raises(ValueError, match=message):
            evaluate(replace(EvaluateConfig(), model=run, **settings))

    def test_a_net_that_does_not_fit(self, tmp_path):
        tiny_cnn(num_classes=7).save(tmp_path / "seven.keras")
        linear_net((9, 9, 1)).save(tmp_path / "nine.keras")
        for name, message in (("seven", "10 logits"), ("nine", r"\[8, 8, 1\]")):
            config = replace(EvaluateConfig(), model=str(tmp_path / f"{name}.keras"), epsilon=0.1, dataset="digits")
            with pytest.raises(ValueError, match=message):
                evaluate(config)


def test_wilson_interval_against_published_values():
    # Newcombe, 1998, table I: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


class TestSample:
    def config(self, run, tmp_path, **settings):
        small = {"num": 25, "chain_steps": 13, "batch_size": 10, "output_dir": str(tmp_path)}
        return replace(SampleConfig(), model=run, **small | settings)

    def test_files_and_protocol(self, run, tmp_path):
        report = sample(self.config(run, tmp_path))
        assert json.loads((tmp_path / "samples.json").read_text()) == json.loads(json.dumps(report))
        with np.load(tmp_path / "samples.npz", allow_pickle=False) as archive:
            assert archive["images"].shape == (25, 8, 8, 1)
            assert archive["images"].min() >= 0
            assert archive["images"].max() <= 1
            np.testing.assert_array_equal(archive["labels"], np.arange(25) % 10)
            np.testing.assert_array_equal(archive["trace_step"], [0, 10, 13])
        assert len(report["diagnostics"]["energy"]) == 3
        assert report["diagnostics"]["finite"]
        assert report["protocol"]["chain_steps"] == 13
        picture = np.asarray(keras.utils.load_img(tmp_path / "grid.png"))
        assert picture.shape == (10 * 33 + 1, 3 * 33 + 1, 3)

    def test_energy_falls_along_the_chain(self, run, tmp_path):
        energies = sample(self.config(run, tmp_path))["diagnostics"]["energy"]
        assert energies[-1] < energies[0]

    def test_is_a_function_of_its_seed(self, run, tmp_path):
        images = []
        for i, seed in enumerate((3, 3, 4)):
            sample(self.config(run, tmp_path / str(i), seed=seed))
            with np.load(tmp_path / str(i) / "samples.npz", allow_pickle=False) as archive:
                images.append(archive["images"])
        np.testing.assert_array_equal(images[0], images[1])
        assert np.any(images[0] != images[2])

    @pytest.mark.parametrize("settings", [{"energy": "cross_entropy"}, {"energy": "marginal"}, {"chain_steps": 0}])
    def test_choices(self, settings, run, tmp_path):
        assert sample(self.config(run, tmp_path, chain_start="uniform", **settings))["diagnostics"]["finite"]

    def test_a_judge_grades_start_and_end(self, run, tmp_path, trained_net):
        trained_net.save(tmp_path / "judge.keras")
        judged = sample(self.config(run, tmp_path, num=60, judge=str(tmp_path / "judge.keras")))["judge"]
        assert 0 <= judged["agreement"] <= 1
        assert judged["start_alone"]["agreement"] > 0.6
        assert judged["frechet_classifier_distance"] > 0

    @pytest.mark.parametrize(("settings", "message"), [({"num": 0}, "--num"), ({"chain_steps": -1}, "--chain_steps")])
    def test_bad_settings(self, settings, message, run, tmp_path):
        with pytest.raises(ValueError, match=message):
            sample(self.config(run, tmp_path, **settings))


def test_prepare_counts_every_image(tmp_path, digits):
    summary = prepare(replace(PrepareConfig(), output=str(tmp_path / "digits.json")))
    assert json.loads((tmp_path / "digits.json").read_text()) == summary
    assert summary["splits"]["train"]["images"] == 1400
    assert sum(summary["splits"]["test"]["images_of_class"].values()) == 397
    pixels = digits.arrays("train")[0] / 255
    assert summary["splits"]["train"]["pixel_mean"] == pytest.approx(pixels.mean(), rel=1e-5)
    assert summary["splits"]["train"]["pixel_std"] == pytest.approx(pixels.std(), rel=1e-5)


def call(verb, *arguments):
    command = [sys.executable, "-m", f"jeat_tf.{verb}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_refusal_on_the_command_line_is_one_line_and_a_status():
    done = call("train", "--epsilon=8", "--model_dir=/tmp/never")
    assert done.returncode == 1
    assert "error: expected epsilon in [0, 1] pixel units, received 8" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_settings():
    assert "--chain_steps: K, gradient steps of a chain" in call("train", "--help").stdout


def test_a_dry_run_prints_settings_that_are_a_flagfile(tmp_path, capsys):
    direct = parsed(TrainConfig, f"--flagfile={ROOT}/configs/digits/jeat.flags")
    print_settings(direct)
    (tmp_path / "again.flags").write_text(capsys.readouterr().out)
    assert parsed(TrainConfig, f"--flagfile={tmp_path / 'again.flags'}") == direct
