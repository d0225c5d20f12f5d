import importlib.util
import inspect
import pathlib
import re

import numpy as np
import pytest

from jeat_tf.methods.presets import presets
from jeat_tf.models.files import load_net

ROOT = pathlib.Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_quickstart_learns_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, digits = load("quickstart").main(epochs=3, num_images=60)
    assert result.clean_accuracy > 0.8
    assert result.robust_accuracy > 0.4
    assert digits.shape == (10, 8, 8, 1)
    assert digits.min() >= 0
    assert digits.max() <= 1
    seen = load_net(str(tmp_path / "net.keras"))(digits).numpy().argmax(-1)
    assert np.mean(seen == np.arange(10)) > 0.8


def test_attack_any_keras_model(tmp_path, trained_net, digits):
    images, labels = digits.arrays("test")
    np.savez(tmp_path / "mine.npz", images=images[:30], labels=labels[:30])
    trained_net.save(tmp_path / "mine.keras")
    example = load("attack_any_keras_model")
    result = example.main(str(tmp_path / "mine.keras"), str(tmp_path / "mine.npz"), epsilon=0.2)
    assert result.robust_accuracy < 0.2
    assert result.clean_accuracy == np.mean(trained_net(images[:30] / 255.0).numpy().argmax(-1) == labels[:30])
    body = inspect.getsource(example.main).splitlines()
    assert len(body) <= 15


def test_every_flagfile_and_preset_the_readme_names_exists():
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r"configs/[\w/]+\.flags", readme):
        assert (ROOT / name).exists(), name
    named = re.findall(r"--preset=([\w/]+)", readme)
    assert named
    assert set(named) <= set(presets())
