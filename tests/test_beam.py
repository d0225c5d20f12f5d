"""Samples and verdicts of workers of Apache Beam; needs the extra [beam], but for what is said without it."""

import importlib.util
import os

import numpy as np
import pytest

from components.beam_evaluate import attack
from components.beam_sample import draw
from components.settings import BeamEvaluateConfig, BeamSampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.sample.run import sample


def config(run, folder, **settings):
    small = {"num": 30, "stages": "sgld:steps=3", "batch_size": 5, "shard_size": 10, "readings": 1}
    return replace(BeamSampleConfig(), **{"model": run, "output_dir": str(folder)} | small | settings)


def evaluation(run, folder, **settings):
    small = {"attacks": "clean,pgd5", "num_images": 50, "batch_size": 10, "audit_images": 0}
    return replace(BeamEvaluateConfig(), **{"model": run, "output_dir": str(folder)} | small | settings)


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="Apache Beam is installed")
def test_without_beam_the_extra_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without Apache Beam .*jeat_tf\[beam\]"):
        draw(config("run", tmp_path))
    with pytest.raises(ValueError, match=r"without Apache Beam .*jeat_tf\[beam\]"):
        attack(evaluation("run", tmp_path, shards=2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "expected --shards >= 1, .*received 0"),
        ({"shards": 2, "calibration": True}, "workers share attacks alone; measure calibration with"),
        ({"shards": 2, "shard": "0/2"}, "not for workers that share a folder"),
    ],
)
def test_bad_settings_of_an_evaluation_are_refused_before_anything_is_done(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        attack(evaluation("run", tmp_path, **settings))


class TestWithBeam:
    @pytest.fixture(autouse=True)
    def _beam(self):
        pytest.importorskip("apache_beam", reason="needs the extra [beam]")

    @pytest.mark.slow
    @pytest.mark.parametrize("shards", [0, 2])
    def test_workers_draw_what_one_machine_draws(self, shards, run, tmp_path):
        sample(config(run, tmp_path / "one").sample)
        report = draw(config(run, tmp_path / "many", shards=shards))
        assert report.num == 30
        names = sorted(name for name in os.listdir(tmp_path / "one") if name.endswith(".npz"))
        assert names == sorted(name for name in os.listdir(tmp_path / "many") if name.endswith(".npz"))
        for name in names:
            with np.load(tmp_path / "one" / name) as one, np.load(tmp_path / "many" / name) as many:
                for key in one:
                    np.testing.assert_array_equal(one[key], many[key])

    @pytest.mark.slow
    def test_workers_come_to_the_verdicts_of_one_machine(self, run, tmp_path):
        whole = evaluate(evaluation(run, tmp_path / "one").evaluate)
        report = attack(evaluation(run, tmp_path / "many", shards=3))
        assert report.shards == 3
        assert [row.correct for row in report.results] == [row.correct for row in whole.results]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"shard": "0/2"}, "not for workers that share a folder"),
            ({"resume": False}, "not for workers that share a folder"),
            ({"shards": 4}, "m <= 3, received 0/4"),
            ({"output_dir": ""}, "set --output_dir"),
        ],
    )
    def test_bad_settings_are_refused_before_anything_is_drawn(self, settings, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            draw(config("run", tmp_path, **settings))
