import importlib.util
import inspect
import pathlib
import re

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quickstart_learns_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean, robust, digits = load("quickstart").main(epochs=2)
    assert clean > 0.8
    assert robust > 0.4
    assert digits.shape == (10, 8, 8, 1)
    assert (tmp_path / "net.keras").exists()


def test_attack_any_keras_model(tmp_path, trained_net, digits):
    images, labels = digits.arrays("test")
    np.savez(tmp_path / "mine.npz", images=images[:30], labels=labels[:30])
    trained_net.save(tmp_path / "mine.keras")
    example = load("attack_any_keras_model")
    result = example.main(str(tmp_path / "mine.keras"), str(tmp_path / "mine.npz"), epsilon=0.2)
    assert result.broken.mean() > 0.8
    body = inspect.getsource(example.main).splitlines()
    assert len(body) <= 15


def test_the_readme_shows_the_quickstart_itself():
    code = (ROOT / "examples" / "quickstart.py").read_text()
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    lines = [line.strip() for line in code.splitlines()]
    assert blocks
    for line in blocks[0].splitlines():
        assert not line.strip() or line.strip() in lines, line


def test_every_flagfile_the_readme_names_exists():
    for name in re.findall(r"configs/[\w/]+\.flags", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name
