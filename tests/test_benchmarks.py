"""Benchmarks that need hardware or hours which are not here: that they run, on what is small enough."""

import argparse
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
gpu, reliability, replicas = map(__import__, ("gpu", "reliability", "replicas"))


@pytest.fixture
def as_before():
    yield
    keras.config.set_dtype_policy("float32")
    tf.config.experimental.enable_tensor_float_32_execution(True)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_gpu_benchmark_measures_what_it_prints(precision, as_before):
    net = gpu.net_of("small_cnn", precision)
    row = gpu.measured(net, xla=False, batch=4, images=2, repeats=1, steps=2)
    assert all(np.isfinite(value) and value > 0 for value in row)
    assert net.layers[1].compute_dtype == {"float32": "float32", "bfloat16": "bfloat16"}[precision]


@pytest.mark.slow
@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured():
    environment = os.environ | {"PYTHON": sys.executable}
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "not measured: TensorFlow finds no GPU here\n")


@pytest.mark.slow
def test_the_costs_of_a_step_are_those_of_a_dry_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- cost -->\nold\n<!-- end of cost -->\n")
    command = [sys.executable, str(ROOT / "benchmarks" / "step_costs.py"), "--methods=fgsm", f"--write={page}"]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    # 1,260 training images in batches of 64 for 42 epochs; a step of FGSM: an attack, and then the update
    assert "| `fgsm` | 798 | 2 | 1 | 1 | 0.39 |\n" in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        path.name
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8") and path.name != "beam_cluster.py"  # needs Dask
    ],
)
def test_every_benchmark_says_what_its_flags_are(script):
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "--" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_reliability_page_says_how_many_trials_were_made(tmp_path):
    trials = reliability.Trials(tmp_path / "trials.json", 0)
    asked = argparse.Namespace(trials=100, files=10_000, seed=0)
    trials.all |= {
        "kill train": [{"kills": 2, "same": True, "temporaries": 0, "cpu": 1.0}],
        "replicas": [{"alone": True, "difference": 1e-7}, {"alone": True, "difference": 1e-5}],
        "snapshot": [{"write": 0.6, "verify": 0.1}],
        "every step": [{"without": 7.0, "each": 13.0, "steps": 10}],
        "resume": [{"seconds": 9.0, "cpu": 2.0}],
    }
    found = reliability.page(trials, asked)
    assert "**not complete**: 1 of 100" in found
    for row in (
        "| SIGKILL of `train` at random times (2) | 1 of 1 end bit for bit | 0 temporary files left |",
        "1 of 2: gradients equal to 1e-6 | largest difference 1.0e-05 |",
        "| overhead of one state of 50 MB a minute | 1% of the time | limit 3% |",
        "| overhead of one state of this training a minute | 1% of the time | limit 3% |",
        "9.0 s, of which 2.0 s of the processor",
    ):
        assert row in found
    trials.all["kill train"] *= 100
    trials.all["fuzz a"] = [{"outcome": "stated", "named": True}] * 10_000
    assert "It is at full scale." in reliability.page(trials, asked)


@pytest.mark.slow
def test_two_replicas_and_two_threads_take_the_same_step():
    strategy = replicas.strategy_of(replace(TrainConfig(), devices="2", batch_size=replicas.SIZE))
    for update in ("none", "awp"):
        settings = {"method": "jem", "update": update}
        assert replicas.difference(settings, strategy, alone=False) <= reliability.EQUAL
