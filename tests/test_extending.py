"""docs/extending.md does what it says: its code is a method, without another line anywhere."""

import pathlib
import re
import sys

import pytest

import jeat_tf as jt
from jeat_tf.config.flags import help_text, parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.methods import recipes
from tests.conftest import tiny_cnn

DOC = pathlib.Path(__file__).parents[1] / "docs" / "extending.md"
CODE = re.search(r"```python\n(.*?)```", DOC.read_text(), re.S)[1]


@pytest.fixture
def smoothed(tmp_path, monkeypatch):
    """The document's code as a file among the methods."""
    (tmp_path / "smoothed.py").write_text(CODE)
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(tmp_path)])
    recipes.methods.cache_clear()
    yield recipes.methods()["smoothed"]
    recipes.methods.cache_clear()
    sys.modules.pop("jeat_tf.methods.recipes.smoothed", None)


def test_the_code_is_about_thirty_lines():
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 30


def test_a_file_is_a_method_for_python_the_command_line_and_help(smoothed):
    config = parsed(TrainConfig, "--method=smoothed", "--smoothing=0.2", "--epsilon=0.1")
    assert config.method == smoothed(smoothing=0.2, epsilon=0.1) == jt.methods.Smoothed(smoothing=0.2, epsilon=0.1)
    assert "--smoothing=0.1" in help_text(TrainConfig, "jeat_tf.train", {})
    with pytest.raises(ValueError, match="--smoothing=0.2 has no effect with --method=pgd_at; only smoothed uses it"):
        replace(TrainConfig(), method="pgd_at", smoothing=0.2)


def test_it_trains_and_without_smoothing_it_is_adversarial_training(smoothed, digit_arrays):
    images, labels = digit_arrays[0][:64], digit_arrays[1][:64]
    weights = []
    for method in (smoothed(smoothing=0.0, epsilon=0.1), jt.methods.PGDAT(jt.attacks.PGD(jt.Linf(0.1)))):
        jt_net = tiny_cnn()
        jt_net.set_weights([0.01 * (1 + i) + 0 * w for i, w in enumerate(jt_net.get_weights())])
        model = jt.EnergyClassifier(jt_net, method)
        model.compile("sgd")
        model.fit(images, labels, batch_size=32, epochs=1, shuffle=False, verbose=0)
        weights.append(jt_net.get_weights())
    for one, other in zip(*weights, strict=True):
        assert (one == other).all()


def test_a_method_of_another_package_is_named_by_its_place(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = parsed(TrainConfig, "--method=elsewhere:Smoothed", "--epsilon=0.1")
    assert type(config.method).__name__ == "Smoothed"
    assert config.method.ball == jt.Linf(0.1)
