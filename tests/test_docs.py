"""The programs of the guides run on the built-in digits, with fewer epochs and images than they print."""

import pathlib
import re

import pytest

GUIDES = pathlib.Path(__file__).parents[1] / "docs" / "guide"


@pytest.mark.parametrize(
    "name", ["get-started", "epsilon", "attack", "train", pytest.param("draw", marks=pytest.mark.slow)]
)
def test_the_programs_of_a_guide_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (GUIDES / f"{name}.md").read_text(encoding="utf-8")
    text = text.replace("epochs=8", "epochs=1").replace("[:100]", "[:10]").replace("[:50]", "[:10]")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(block, names)
