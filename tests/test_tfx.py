"""A graph under TFX; needs the extra [tfx], which needs glibc >= 2.39, but for what is said without it."""

import importlib.util
import os

import pytest

from components.core import Graph, component
from components.tfx import run_graph
from components.types import Examples, InputArtifact, InputArtifacts, Model, OutputArtifact, Parameter, Report

CALLS = []


def note(path, text):
    with open(os.path.join(path, "text"), "w", encoding="utf-8") as f:
        f.write(text)


def text(path):
    with open(os.path.join(path, "text"), encoding="utf-8") as f:
        return f.read()


@component(version="1")
def gather(examples: OutputArtifact[Examples], *, words: Parameter[str], more: Parameter[str] = "") -> None:
    CALLS.append("gather")
    note(examples.path, words + more)


@component(version="1")
def learn(examples: InputArtifact[Examples], model: OutputArtifact[Model], *, seed: Parameter[int]) -> None:
    CALLS.append(f"learn-{seed}")
    note(model.path, f"{text(examples.path)} {seed}")


@component(version="1")
def tell(models: InputArtifacts[Model], report: OutputArtifact[Report]) -> None:
    CALLS.append("tell")
    note(report.path, "; ".join(f"{name}: {text(path)}" for name, path in sorted(models.paths.items())))


def graph(seeds):
    made = Graph()
    data = made.add("gather", gather, words="a b").output("examples")
    models = {f"m-{seed}": made.add(f"learn-{seed}", learn, examples=data, seed=seed).output("model") for seed in seeds}
    made.add("tell", tell, models=models)
    return made


@pytest.mark.skipif(importlib.util.find_spec("tfx") is not None, reason="TFX is installed")
def test_without_tfx_the_extra_and_its_platforms_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"without TFX .*jeat_tf\[tfx\].*glibc >= 2.39"):
        run_graph(graph([0]), str(tmp_path))


@pytest.mark.slow
def test_tfx_runs_each_step_once_and_again_what_depends_on_a_change(tmp_path):
    pytest.importorskip("tfx", reason="needs the extra [tfx], which needs glibc >= 2.39")
    CALLS.clear()
    run_graph(graph([0, 1]), str(tmp_path))
    assert CALLS == ["gather", "learn-0", "learn-1", "tell"]
    (report,) = (tmp_path / "tell" / "report").iterdir()
    assert text(report) == "m-0: a b 0; m-1: a b 1"
    CALLS.clear()
    run_graph(graph([0, 1]), str(tmp_path))
    assert CALLS == []
    run_graph(graph([0, 2]), str(tmp_path))
    assert CALLS == ["learn-2", "tell"]
