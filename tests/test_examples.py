import importlib.util
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def test_quickstart_learns_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "examples" / "quickstart.py")
    quickstart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quickstart)
    clean, robust, digits = quickstart.main(epochs=2)
    assert clean > 0.8
    assert robust > 0.4
    assert digits.shape == (10, 8, 8, 1)
    assert (tmp_path / "net.keras").exists()


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
