"""Samples that workers of Apache Beam draw; needs the extra [beam], but for what is said without it."""

import importlib.util
import os

import numpy as np
import pytest

from components.beam import draw
from components.settings import BeamConfig
from jeat_tf.config import replace
from jeat_tf.sample import sample


def config(run, folder, **settings):
    small = {"num": 30, "stages": "sgld:num_steps=3", "batch_size": 5, "shard_size": 10, "readings": 1}
    return replace(BeamConfig(), **{"model": run, "output_dir": str(folder)} | small | settings)


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="Apache Beam is installed")
def test_without_beam_the_extra_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without Apache Beam .*jeat_tf\[beam\]"):
        draw(config("run", tmp_path))


class TestWithBeam:
    @pytest.fixture(autouse=True)
    def _beam(self):
        pytest.importorskip("apache_beam", reason="needs the extra [beam]")

    @pytest.mark.slow
    @pytest.mark.parametrize("shards", [0, 2])
    def test_workers_draw_what_one_machine_draws(self, shards, run, tmp_path):
        sample(config(run, tmp_path / "one").sample)
        report = draw(config(run, tmp_path / "many", shards=shards))
        assert report["num"] == 30
        names = sorted(name for name in os.listdir(tmp_path / "one") if name.endswith(".npz"))
        assert names == sorted(name for name in os.listdir(tmp_path / "many") if name.endswith(".npz"))
        for name in names:
            with np.load(tmp_path / "one" / name) as one, np.load(tmp_path / "many" / name) as many:
                for key in one:
                    np.testing.assert_array_equal(one[key], many[key])

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"shard": "0/2"}, "not for workers that share a folder"),
            ({"resume": False}, "not for workers that share a folder"),
            ({"shards": 4}, "at most 3 shards"),
            ({"output_dir": ""}, "set --output_dir"),
        ],
    )
    def test_bad_settings_are_refused_before_anything_is_drawn(self, settings, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            draw(config("run", tmp_path, **settings))
