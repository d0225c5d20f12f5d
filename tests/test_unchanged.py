"""Training gives the weights that it gave before, bit for bit: a change of the code that changes them shows here."""

import hashlib
import json
import os
import pathlib

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten, replace
from jeat_tf.train.run import train

STORED = json.loads((pathlib.Path(__file__).parent / "data" / "digits_weights.json").read_text())
CORES = {"jem_dsm": 2}  # sums that TensorFlow splits among the cores end in other last bits with another number of them
QUICK = ("jeat", "jem", "trades", "free")
# 1,400 images in batches of 300; what a preset does not read is left out.
SHRUNKEN = {
    "epochs": 1,
    "batch_size": 300,
    "chain_steps": 2,
    "buffer_size": 300,
    "robust_every": 0,
    "images_every": 0,
    "validation_percent": 0,
    "monitor": "",
}


def made_with():
    """What the last bits of the weights depend on."""
    cpu = {}
    if pathlib.Path("/proc/cpuinfo").exists():
        first = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        cpu = {key.strip(): text.strip() for key, _, text in (line.partition(":") for line in first.splitlines())}
    name = f"{cpu.get('model name')}, family {cpu.get('cpu family')}, model {cpu.get('model')}"
    return {"tensorflow": tf.__version__, "keras": keras.__version__, "cpu": name}


pytestmark = pytest.mark.skipif(
    made_with() != STORED["made_with"],
    reason=f"the weights were made with {STORED['made_with']}; other versions and processors round otherwise",
)


@pytest.mark.parametrize(
    "preset", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in STORED["presets"]]
)
def test_every_digits_preset_trains_the_same_weights(preset, tmp_path):
    if preset in CORES and os.cpu_count() != CORES[preset]:
        pytest.skip(f"the weights were made with {CORES[preset]} cores")
    config = parsed(TrainConfig, f"--preset=digits/{preset}")
    shrunken = {name: given for name, given in SHRUNKEN.items() if name in flatten(config)}
    if config.stream.labelled_percent < 100:
        shrunken["labelled_percent"] = 50
    result = train(replace(config, **shrunken, model_dir=str(tmp_path / "run")))
    found = {"weights_sha256": result.weights_sha256, "steps": result.steps}
    with h5py.File(tmp_path / "run" / "last.weights.h5") as state:
        buffer = state.get("layers/replay_buffer/vars")
        if buffer is not None:
            found["buffer_sha256"] = hashlib.sha256(np.ascontiguousarray(buffer["0"]).tobytes()).hexdigest()
    assert found == STORED["presets"][preset]


def test_the_presets_that_are_stored_are_all_that_there_are():
    folder = pathlib.Path(__file__).parents[1] / "configs" / "digits"
    assert set(STORED["presets"]) == {path.stem for path in folder.glob("*.flags")}
