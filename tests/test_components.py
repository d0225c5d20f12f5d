"""Wiring, cache, lineage and recovery of the local runner, on components that write a line of text."""

import json
import os
import pathlib
import shutil

import pytest

from components import manifest, run
from components.code import code_sha256
from components.core import Graph, component
from components.lineage import ancestry, descent
from components.local import LocalRunner
from components.pipeline import build
from components.settings import PipelineConfig
from components.store import Lineage
from components.types import Examples, InputArtifact, InputArtifacts, Model, OutputArtifact, Parameter, Report
from jeat_tf.config import replace

CALLS = []


def note(path, text):
    with open(os.path.join(path, "text"), "w", encoding="utf-8") as f:
        f.write(text)


def text(path):
    with open(os.path.join(path, "text"), encoding="utf-8") as f:
        return f.read()


@component(version="1")
def gather(examples: OutputArtifact[Examples], *, words: Parameter[str]) -> None:
    CALLS.append("gather")
    note(examples.path, words)
    examples.properties = {"images_sha256": "0" * 64}


@component(version="1")
def learn(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    *,
    seed: Parameter[int],
    fails: Parameter[bool] = False,
) -> None:
    CALLS.append(f"learn-{seed}")
    note(model.path, f"{text(examples.path)} {seed}")
    if fails:
        raise ValueError("the net is bad")


@component(version="1")
def tell(models: InputArtifacts[Model], report: OutputArtifact[Report]) -> None:
    CALLS.append("tell")
    told = [f"{name}: {text(path)}" for name, path in sorted(models.paths.items())]
    note(report.path, "; ".join(told + [f"{name} missing: {why}" for name, why in models.missing.items()]))


def graph(words="a b", seeds=(0, 1), fails=()):
    made = Graph()
    data = made.add("gather", gather, words=words).output("examples")
    models = {
        f"m{seed}": made.add(f"learn-{seed}", learn, examples=data, seed=seed, fails=seed in fails).output("model")
        for seed in seeds
    }
    made.add("tell", tell, models=models)
    return made


@pytest.fixture
def runner(tmp_path):
    CALLS.clear()
    return LocalRunner(str(tmp_path / "root"), say=lambda line: None)


def states(outcomes):
    return {name: outcome.state for name, outcome in outcomes.items()}


def test_a_pipeline_runs_in_order_and_ends_in_its_report(runner):
    outcomes = runner.run(graph())
    assert set(states(outcomes).values()) == {"complete"}
    assert CALLS == ["gather", "learn-0", "learn-1", "tell"]
    assert text(outcomes["tell"].outputs["report"]) == "m0: a b 0; m1: a b 1"
    assert os.listdir(os.path.join(runner.root, "work")) == []


def test_the_same_pipeline_again_calls_nothing(runner):
    first = runner.run(graph())
    CALLS.clear()
    again = runner.run(graph())
    assert CALLS == []
    assert set(states(again).values()) == {"cached"}
    assert again["tell"].outputs == first["tell"].outputs


def test_only_what_depends_on_a_change_is_called(runner):
    runner.run(graph())
    CALLS.clear()
    runner.run(graph(seeds=(0, 2)))
    assert CALLS == ["learn-2", "tell"]
    CALLS.clear()
    runner.run(graph(words="c"))
    assert CALLS == ["gather", "learn-0", "learn-1", "tell"]


def test_a_forced_step_whose_result_is_the_same_leaves_the_others_cached(runner):
    runner.run(graph())
    CALLS.clear()
    runner.run(graph(), force=["gather"])
    assert CALLS == ["gather"]


def test_a_component_alone_needs_the_results_of_the_others(runner):
    assert states(runner.run(graph(), only=["learn"])) == {
        "gather": "skipped",
        "learn-0": "skipped",
        "learn-1": "skipped",
        "tell": "skipped",
    }
    runner.run(graph(), only=["gather"])
    assert CALLS == ["gather"]
    with pytest.raises(ValueError, match="one of gather, learn, tell, received learm"):
        runner.run(graph(), only=["learm"])


def test_a_failed_step_stops_only_what_needs_it(runner):
    outcomes = runner.run(graph(fails=[0]))
    assert states(outcomes) == {"gather": "complete", "learn-0": "failed", "learn-1": "complete", "tell": "complete"}
    assert text(outcomes["tell"].outputs["report"]) == "m1: a b 1; m0 missing: the net is bad"
    assert not os.path.exists(os.path.join(runner.root, "artifacts", "Model", "text"))


def test_a_changed_file_is_never_used(runner):
    outcomes = runner.run(graph())
    note(outcomes["gather"].outputs["examples"], "other words")
    again = runner.run(graph())
    assert again["gather"].state == "failed"
    assert "was changed: its SHA-256 is not the one in its manifest" in again["gather"].why
    assert again["learn-0"].state == "skipped"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: os.remove(folder / "manifest.json"), "no artifact in .*: expected a folder with manifest.json"),
        (lambda folder: os.remove(folder / "text"), "lacks text, which its manifest lists"),
        (lambda folder: (folder / "more").write_text("x"), "holds more, which its manifest does not list"),
        (lambda folder: alter(folder, format=0), "has format 0, expected 1"),
        (lambda folder: alter(folder, schema_version=0), "expected schema version 1 of Examples .* received 0"),
        (
            lambda folder: alter(folder, type="Model"),
            "expected an artifact of type Examples .* received one of type Model",
        ),
        (lambda folder: alter(folder, properties={"images_sha256": "1"}), "its digest is not that of what it lists"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot read the manifest"),
    ],
)
def test_what_is_no_artifact_is_named(change, message, runner, tmp_path):
    folder = tmp_path / "examples"
    shutil.copytree(runner.run(graph(seeds=(0,)))["gather"].outputs["examples"], folder)
    manifest.read(str(folder), Examples)
    change(folder)
    with pytest.raises(ValueError, match=message):
        manifest.read(str(folder), Examples)


def alter(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_volatile_files_are_checked_but_nothing_depends_on_them(tmp_path):
    origin = {"producer": {}, "parameters": {}, "parents": {}}
    for seconds in ("1", "2"):
        (tmp_path / "train.json").write_text(seconds)
        digest = manifest.write(str(tmp_path), Model, {"weights_sha256": "w"}, **origin).digest
        assert digest == manifest.write(str(tmp_path), Model, {"weights_sha256": "w"}, **origin).digest
    (tmp_path / "train.json").write_text("3")
    with pytest.raises(ValueError, match="was changed"):
        manifest.read(str(tmp_path), Model)
    assert manifest.write(str(tmp_path), Model, {"weights_sha256": "v"}, **origin).digest != digest


def test_wiring_is_checked_before_anything_runs():
    made = Graph()
    data = made.add("gather", gather, words="a").output("examples")
    model = made.add("learn", learn, examples=data, seed=0).output("model")
    with pytest.raises(TypeError, match=r"other\(examples\): expected an artifact of type Examples, received Model"):
        made.add("other", learn, examples=model, seed=0)
    with pytest.raises(TypeError, match="expected an artifact of type Examples, received none"):
        made.add("other", learn, seed=0)
    with pytest.raises(TypeError, match="expected a value for the parameter seed"):
        made.add("other", learn, examples=data)
    with pytest.raises(TypeError, match="expected seed to be int, received '0'"):
        made.add("other", learn, examples=data, seed="0")
    with pytest.raises(TypeError, match="has no input or parameter sed"):
        made.add("other", learn, examples=data, sed=0)
    with pytest.raises(TypeError, match="expected outputs by name"):
        made.add("other", tell, models=model)
    with pytest.raises(ValueError, match='received "learn" twice'):
        made.add("learn", learn, examples=data, seed=0)
    with pytest.raises(ValueError, match="gather is no node of this graph"):
        Graph().add("other", learn, examples=data, seed=0)


def test_a_component_says_what_it_takes_and_makes():
    assert {name: port.type for name, port in learn.inputs.items()} == {"examples": Examples}
    assert {name: port.type for name, port in learn.outputs.items()} == {"model": Model}
    assert learn.parameters == {"seed": int, "fails": bool}
    with pytest.raises(TypeError, match="expected bad"):

        @component(version="1")
        def bad(x: int) -> None: ...


def test_lineage_goes_back_to_the_data_and_forth_to_the_report(runner):
    outcomes = runner.run(graph())
    lineage = Lineage(os.path.join(runner.root, "lineage.sqlite"))
    (report,) = lineage.find(outcomes["tell"].outputs["report"])
    back = "\n".join(ancestry(lineage, report))
    assert back.count("made by learn") == 2
    assert f"SHA-256 of the data: {'0' * 64}" in back
    (data,) = lineage.find(outcomes["gather"].outputs["examples"])
    forth = "\n".join(descent(lineage, data))
    assert forth.count("Model ") == 2
    assert forth.count("Report ") == 2


def die_before_rename(source, target):
    if "artifacts" in target:
        os._exit(9)
    shutil.move(source, target)


def die_in_the_middle_of_a_file(path, text):
    (pathlib.Path(path) / ".partial-text-abcdefgh").write_text(text[:1])
    os._exit(9)


PLACES = {
    "in the middle of a file": ("tests.test_components.note", die_in_the_middle_of_a_file),
    "in the step": ("tests.test_components.text", lambda path: os._exit(9)),
    "before the manifest": ("components.manifest.write", lambda *args, **kwargs: os._exit(9)),
    "before the rename": ("os.replace", die_before_rename),
    "before the lineage": ("components.store.Lineage.complete", lambda *args: os._exit(9)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_run_that_was_killed_ends_as_one_that_was_not(place, tmp_path, monkeypatch):
    folder = str(tmp_path / "root")
    child = os.fork()
    if not child:
        monkeypatch.setattr(*PLACES[place])
        LocalRunner(folder, say=lambda line: None).run(graph())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    CALLS.clear()
    outcomes = LocalRunner(folder, say=lambda line: None).run(graph())
    assert set(states(outcomes).values()) <= {"complete", "cached"}
    assert text(outcomes["tell"].outputs["report"]) == "m0: a b 0; m1: a b 1"
    # A step that had ended is not called again: only its manifest, its place or its line in the lineage was missing.
    assert ("gather" in CALLS) == (place == "in the middle of a file")
    assert os.listdir(os.path.join(folder, "work")) == []
    whole = LocalRunner(str(tmp_path / "whole"), say=lambda line: None).run(graph())
    for name, outcome in outcomes.items():
        assert list(map(os.path.basename, outcome.outputs.values())) == [
            os.path.basename(path) for path in whole[name].outputs.values()
        ]


def test_code_that_a_component_does_not_reach_is_no_part_of_its_digest():
    assert code_sha256("components.trainer") != code_sha256("components.evaluator")
    from components.code import _reached

    reached = _reached("components.trainer")
    assert "jeat_tf.train" in reached
    assert "jeat_tf.loops" in reached
    others = {
        "jeat_tf.evaluate",
        "jeat_tf.report",
        "jeat_tf.measure",
        "jeat_tf.config.evaluate",
        "jeat_tf.config.sample",
    }
    assert not others & set(reached)


class TestPipeline:
    def config(self, **settings):
        presets = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs", "digits")
        return replace(PipelineConfig(), **{"presets": presets} | settings)

    def test_methods_times_seeds_share_the_data_and_the_judge(self):
        graph = build(self.config(methods="pgd_at,jeat", seeds="0..2"))
        names = [node.component.name for node in graph.nodes.values()]
        assert {name: names.count(name) for name in names} == {
            "data_prep": 1,
            "trainer": 7,
            "sample_export": 6,
            "evaluator": 6,
            "report": 1,
        }
        assert graph.nodes["trainer-jeat-2"].parents() == {"data_prep"}
        assert graph.nodes["evaluator-jeat-2"].parents() == {
            "data_prep",
            "trainer-jeat-2",
            "sample_export-jeat-2",
            "trainer-judge",
        }
        assert len(graph.nodes["report"].parents()) == 18
        assert "--method=jeat" in graph.nodes["trainer-jeat-2"].parameters["flags"]
        assert graph.nodes["trainer-jeat-2"].parameters["seed"] == 2

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"methods": ""}, "expected --methods"),
            ({"methods": "jaet"}, "no preset .*expected one of .*jeat"),
            ({"seeds": "0..x"}, "expected --seeds as 0..4"),
            ({"seeds": "1,1"}, "different numbers"),
            ({"train_flags": "--epoch=3"}, "TrainConfig: .*epoch"),
            ({"evaluate_flags": "--attack=clean"}, "EvaluateConfig: .*attack"),
            ({"sample_flags": "--nun=3"}, "SampleConfig: .*nun"),
        ],
    )
    def test_bad_settings_are_named(self, settings, message):
        with pytest.raises(ValueError, match=message):
            build(self.config(**settings))


class TestOneComponent:
    def test_runs_from_folders_to_folders(self, tmp_path):
        CALLS.clear()
        run.COMPONENTS |= {"gather": gather, "learn": learn, "tell": tell}
        try:
            a, b, c = (str(tmp_path / name) for name in "abc")
            run.run_component("gather", [f"--out_examples={a}", "--words=x y"])
            run.run_component("learn", [f"--in_examples={a}", f"--out_model={b}", "--seed=3"])
            run.run_component("tell", [f"--in_models=m={b}", f"--out_report={c}"])
            assert text(c) == "m: x y 3"
            assert manifest.read(c, Report).parents == {"models": {"m": manifest.read(b, Model).digest}}
            with pytest.raises(ValueError, match="received one of type Model"):
                run.run_component("learn", [f"--in_examples={b}", f"--out_model={c}", "--seed=3"])
            with pytest.raises(ValueError, match="expected --in_examples"):
                run.run_component("learn", [f"--out_model={c}", "--seed=3"])
            with pytest.raises(ValueError, match="expected --seed"):
                run.run_component("learn", [f"--in_examples={a}", f"--out_model={c}"])
            with pytest.raises(ValueError, match="Unknown command line flag 'sed'"):
                run.run_component("learn", ["--sed=3"])
        finally:
            for name in ("gather", "learn", "tell"):
                del run.COMPONENTS[name]

    def test_an_unknown_one_gets_its_nearest(self):
        with pytest.raises(ValueError, match="did you mean trainer"):
            run.run_component("trianer", [])
