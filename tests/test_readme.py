"""README's programs run as they stand, on the built-in digits."""

import ast
import pathlib
import re

import jeat_tf as jt
from jeat_tf.data.datasets import as_floats

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
PROGRAM, SETTINGS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_program_takes_at_most_eight_statements():
    assert len(ast.parse(PROGRAM).body) <= 8


def test_the_program_runs(digits, digit_arrays, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images, labels = digits.arrays("test")
    x, y = digit_arrays[0][:320], digit_arrays[1][:320]
    names = {"x": x, "y": y, "x_test": as_floats(images)[:20], "y_test": labels[:20]}
    exec(PROGRAM, names)
    assert names["digits"].shape == (10, 8, 8, 1)
    assert re.search(r"clean \d+\.\d%, robust \d+\.\d% at linf 0\.1 \(autoattack, 20 images\)", capsys.readouterr().out)
    assert (tmp_path / "net.keras").exists()


def test_the_settings_are_values():
    names = {"jt": jt}
    exec(SETTINGS, names)
    assert names["method"].attack == jt.attacks.PGD(jt.Linf(8 / 255), steps=10)
