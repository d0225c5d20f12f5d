"""evaluate, sample and prepare, on a run of a few steps."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from jeat_tf.cli import parsed, print_settings
from jeat_tf.config import PrepareConfig, SampleConfig, TrainConfig, replace
from jeat_tf.prepare import prepare
from jeat_tf.sample import sample

ROOT = pathlib.Path(__file__).parents[1]


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

    def test_robust_jems_combined_inference(self, run, tmp_path):
        """Class Gaussians, targeted PGD, less contrast, and no chain: the images are the attack's, drawn together."""
        combined = {"targeted_steps": 5, "targeted_epsilon": 0.2, "contrast": 0.9, "chain_steps": 0}
        report = sample(self.config(run, tmp_path, **combined))
        assert report["protocol"]["targeted_steps"] == 5
        with np.load(tmp_path / "samples.npz", allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
        assert images.min() >= 0.05 - 1e-6
        assert images.max() <= 0.95 + 1e-6
        net = keras.saving.load_model(f"{run}/net.keras")
        assert np.mean(net(images).numpy().argmax(-1) == labels) > 0.9

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
