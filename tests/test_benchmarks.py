"""Benchmarks that need hardware which is not here: that they run, on a net that is small enough."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
gpu = __import__("gpu")


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
