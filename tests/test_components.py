"""Wiring, cache, lineage and recovery of the local runner, on components that write a line of text."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3

import pytest

from components import manifest, run
from components.code import code_sha256
from components.core import Graph, component
from components.given import by_json, flag_words
from components.lineage import ancestry, descent, diagram, short
from components.local import LocalRunner, producer
from components.pipeline import build
from components.settings import PipelineConfig
from components.store import Lineage
from components.trainer import trainer
from components.types import (
    Evaluation,
    Examples,
    InputArtifact,
    InputArtifacts,
    Model,
    OutputArtifact,
    Parameter,
    Report,
)
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import whole_file
from jeat_tf.core.flat import replace
from jeat_tf.methods.recipes import methods
from jeat_tf.runs.locks import FolderInUse, held

CALLS = []


def note(path, text):
    with open(os.path.join(path, "text"), "w", encoding="utf-8") as f:
        f.write(text)


def text(path):
    with open(os.path.join(path, "text"), encoding="utf-8") as f:
        return f.read()


def read_examples(path):
    return text(path)


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
    note(model.path, f"{read_examples(examples.path)} {seed}")
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
        (lambda folder: alter(folder, format=0), "has format 0, expected 2"),
        (lambda folder: alter(folder, schema_version=0), "expected schema version 1 of Examples .* received 0"),
        (
            lambda folder: alter(folder, type="Model"),
            "expected an artifact of type Examples .* received one of type Model",
        ),
        (lambda folder: alter(folder, properties={"images_sha256": "1"}), "its digest does not match what it lists"),
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


ORIGIN: dict = {"producer": {}, "parameters": {}, "parents": {}}


def test_volatile_files_are_checked_but_nothing_depends_on_them(tmp_path):
    digests = set()
    for weights in ("1", "2"):
        (tmp_path / "net.keras").write_text(weights)
        digests.add(manifest.write(str(tmp_path), Model, {"weights_sha256": "w"}, **ORIGIN).digest)
    assert len(digests) == 1
    (tmp_path / "net.keras").write_text("3")
    with pytest.raises(ValueError, match="was changed"):
        manifest.read(str(tmp_path), Model)
    assert manifest.write(str(tmp_path), Model, {"weights_sha256": "v"}, **ORIGIN).digest not in digests


@pytest.mark.parametrize(
    ("record", "same"),
    [
        ({"date": "2026-01-02", "rows": [{"accuracy": 0.5, "seconds": 3.0}], "model": "/there/net.keras"}, True),
        ({"date": "2026-01-01", "rows": [{"accuracy": 0.6, "seconds": 2.0}], "model": "/here/net.keras"}, False),
        ({"date": "2026-01-01", "rows": [{"accuracy": 0.5, "seconds": 2.0, "epsilon": 0.1}]}, False),
    ],
)
def test_what_a_record_says_counts_but_not_when_and_where(record, same, tmp_path):
    first = {"date": "2026-01-01", "rows": [{"accuracy": 0.5, "seconds": 2.0}], "model": "/here/net.keras"}
    digests = set()
    for values in (first, record):
        (tmp_path / "results.json").write_text(json.dumps(values))
        digests.add(manifest.write(str(tmp_path), Evaluation, {}, **ORIGIN).digest)
        assert manifest.read(str(tmp_path), Evaluation).digest in digests
    assert (len(digests) == 1) == same


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


def test_two_runs_in_one_folder_are_refused(runner):
    with (
        held(runner.root, "components.run"),
        pytest.raises(FolderInUse, match=r"is in use by components.run \(process \d+ .*Wait until it has ended"),
    ):
        runner.run(graph())
    assert CALLS == []
    assert set(states(runner.run(graph())).values()) == {"complete"}


def test_an_artifact_in_the_place_of_another_is_named(runner):
    first = runner.run(graph())
    zero, one = (first[f"learn-{seed}"].outputs["model"] for seed in (0, 1))
    shutil.rmtree(zero)
    shutil.copytree(one, zero)
    again = runner.run(graph())
    assert again["learn-0"].state == "failed"
    assert "not the one that was made there" in again["learn-0"].why
    assert again["learn-1"].state == "cached"
    assert states(runner.run(graph(), force=["learn"]))["learn-0"] == "complete"


def test_an_origin_that_was_forged_is_named(runner):
    folder = runner.run(graph())["learn-0"].outputs["model"]
    alter(pathlib.Path(folder), parameters={"seed": 7}, parents={})
    manifest.read(folder, Model)  # its files are what they were
    assert "its manifest was changed or replaced" in runner.run(graph())["learn-0"].why


def test_a_file_that_a_parameter_names_counts_by_its_content(runner, tmp_path):
    more = tmp_path / "more.npz"
    for content, calls in (("1", ["gather", "learn-0", "tell"]), ("1", []), ("2", ["gather"])):
        more.write_text(content)
        CALLS.clear()
        outcomes = runner.run(graph(words=f"--more={more}", seeds=(0,)))
        assert calls == CALLS
    made = manifest.read(outcomes["gather"].outputs["examples"], Examples)
    assert list(made.producer["files"]) == [str(more)]


def test_the_reason_for_what_is_missing_is_no_older_than_the_run(runner, monkeypatch):
    for reason in ("the net is bad", "the disk is full"):

        def text_or_not(path, reason=reason):
            if path.endswith("model"):
                return text(path)
            raise ValueError(reason)

        monkeypatch.setattr("tests.test_components.read_examples", text_or_not)
        told = runner.run(graph(seeds=(0,)))["tell"]
        assert text(told.outputs["report"]) == f"m0 missing: {reason}"


def test_what_is_left_is_told_once_all_of_it_has_run_before(tmp_path):
    lines: list[str] = []
    runner = LocalRunner(str(tmp_path / "root"), say=lines.append)
    runner.run(graph())
    assert not any(re.search(r"about|at least", line) for line in lines[:3])  # the report has never run
    lines.clear()
    runner.run(graph())
    assert not any(" left)" in line for line in lines)  # nothing had to be run
    lines.clear()
    runner.run(graph(), force=["learn"])
    assert "; about 0 s left" in lines[-2]


def test_a_short_lineage_and_a_diagram_name_each_artifact_once(runner):
    (made,) = runner.lineage.find(runner.run(graph())["tell"].outputs["report"])
    lines = [line.split() for line in short(runner.lineage, made)]
    assert [line[0] for line in lines] == ["Examples", "Model", "Model", "Report"]
    assert [line[2].rstrip(",") for line in lines] == ["gather", "learn-0", "learn-1", "tell"]
    head, *drawn = diagram(runner.lineage, made)
    assert head == "flowchart LR"
    assert sum("-->" in line for line in drawn) == 4  # to each net from the data, and to the report from each net
    assert sum('["' in line for line in drawn) == 4


def test_a_lineage_moves_with_its_folder(runner, tmp_path):
    outcomes = runner.run(graph())
    runner.lineage.close()
    moved = shutil.move(runner.root, tmp_path / "moved")
    folder = outcomes["learn-0"].outputs["model"].replace(runner.root, str(moved))
    lineage = Lineage(os.path.join(moved, "lineage.sqlite"))
    (model,) = lineage.find(folder)
    told = "\n".join(ancestry(lineage, model))
    assert f"{moved}/artifacts/Examples" in told
    assert runner.root + "/" not in told


def test_what_a_folder_held_before_keeps_its_lineage(runner, monkeypatch):
    before = runner.run(graph(seeds=(0,)))
    plain = note
    monkeypatch.setattr("tests.test_components.note", lambda path, words: plain(path, f"{words}!"))
    after = runner.run(graph(seeds=(0,)), force=["learn"])
    assert after["learn-0"].outputs == before["learn-0"].outputs
    old, new = runner.lineage.find(before["learn-0"].outputs["model"])
    assert old.digest != new.digest
    reports = [[made.digest for _, made in self_made(runner.lineage, one)] for one in (old, new)]
    assert reports[0] != reports[1]
    assert list(map(len, reports)) == [1, 1]


def self_made(lineage, artifact):
    return [made for reader in lineage.readers(artifact.id) for made in lineage.artifacts(reader.id, "OUTPUT")]


@pytest.mark.parametrize(("content", "message"), [(b"x" * 2000, "cannot use the lineage"), (None, "version 2 .* 1;")])
def test_a_lineage_that_cannot_be_read_is_named(content, message, tmp_path):
    path = tmp_path / "lineage.sqlite"
    if content is None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 1")
            database.execute("CREATE TABLE artifact (id)")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        LocalRunner(str(tmp_path))


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
    with whole_file(os.path.join(path, "text")) as temporary:
        pathlib.Path(temporary).write_text(text[:1])
        os._exit(9)


PLACES = {
    "in the middle of a file": ("tests.test_components.note", die_in_the_middle_of_a_file),
    "in the step": ("tests.test_components.read_examples", lambda path: os._exit(9)),
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
    assert "jeat_tf.train.run" in reached
    assert "jeat_tf.core.loops" in reached
    others = {
        "jeat_tf.evaluate.robustness",
        "jeat_tf.report.run",
        "jeat_tf.evaluate.density",
        "jeat_tf.config.evaluate",
        "jeat_tf.config.sample",
    }
    assert not others & set(reached)


@pytest.mark.parametrize("component", ["trainer", "sample_export"])
def test_the_code_of_every_method_is_part_of_the_digest(component):
    from components.code import _reached

    assert {kind.__module__ for kind in methods().values()} <= set(_reached(f"components.{component}"))


@pytest.mark.parametrize(
    "text",
    [
        "NET",
        "NET:pixels=0..255,head=softmax",
        "a=NET,b=OTHER",
        "b=OTHER, a=NET",
        "OTHER,NET",
        "NET:mean=1,2",
        "a=b=NET",
    ],
)
def test_a_file_that_a_setting_names_is_part_of_the_key_however_it_is_named(text, tmp_path):
    net, other = tmp_path / "net.keras", tmp_path / "other.keras"
    net.write_text("one")
    other.write_text("other")
    named = text.replace("NET", str(net)).replace("OTHER", str(other))
    files = producer(trainer, {"settings": json.dumps({"settings": {"judge": named}})})["files"]
    assert str(net) in files
    assert (str(other) in files) == ("OTHER" in text)


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
        assert len(graph.nodes["report"].parents()) == 19
        assert by_json(TrainConfig, graph.nodes["trainer-jeat-2"].parameters["settings"]).method.word == "jeat"
        assert graph.nodes["trainer-jeat-2"].parameters["seed"] == 2

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"methods": ""}, "expected --methods"),
            ({"methods": "jaet"}, "no preset .*expected one of .*jeat"),
            ({"seeds": "0..x"}, "expected --seeds as 0..4"),
            ({"seeds": "1,1"}, "different numbers"),
            ({"seeds": "-1,1"}, "different numbers from 0"),
            ({"judge_flags": "--epoch=1"}, "TrainConfig: .*epoch"),
            ({"judge_flags": "--epochs=0"}, "expected epochs at least 1"),
            ({"evaluate_flags": "--attacks=clean,nosuch"}, "nosuch"),
            ({"evaluate_flags": "--epsilon=30"}, "looks like a 0-255 value"),
            ({"evaluate_flags": "--num_images=50", "evaluate_shards": 51}, "expected --evaluate_shards <= 50"),
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
            with pytest.raises(ValueError, match="expected --out_model to be another folder than those of the inputs"):
                run.run_component("learn", [f"--in_examples={a}", f"--out_model={a}", "--seed=3"])
            with pytest.raises(ValueError, match="expected an artifact of type Model .* received one of type Report"):
                run.run_component("learn", [f"--in_examples={a}", f"--out_model={c}", "--seed=3"])
            with pytest.raises(ValueError, match="flags only, received foo bar"):
                run.run_component("learn", ["foo", "bar"])
            for wrong in (b, f"m={b},m={a}"):
                with pytest.raises(
                    ValueError, match="--in_models: expected NAME=FOLDER,NAME=FOLDER with each name once"
                ):
                    run.run_component("tell", [f"--in_models={wrong}", f"--out_report={c}"])
            run.run_component("learn", ["--help"])
        finally:
            for name in ("gather", "learn", "tell"):
                del run.COMPONENTS[name]

    def test_an_unknown_one_gets_its_nearest(self):
        with pytest.raises(ValueError, match="did you mean trainer"):
            run.run_component("trianer", [])


@pytest.mark.parametrize("given", [["--component=trainer"], ["--component", "trainer"]])
def test_a_component_is_chosen_by_either_form_of_a_flag(given):
    assert run._component_of(["--seed=1", *given, "--x"]) == ("trainer", ["--seed=1", "--x"])
    assert run._component_of(["--seed=1"]) == ("", ["--seed=1"])


def test_a_component_that_cannot_be_run_alone_yet_says_so(tmp_path):
    presets = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "configs", "digits")
    config = PipelineConfig(pipeline_root=str(tmp_path), presets=presets, seeds="0", only="evaluator")
    with pytest.raises(ValueError, match=r"what it needs is not there; run the others first\n  evaluator-standard-0: "):
        run.run_pipeline(config)


def test_templates_and_tables_are_part_of_the_code():
    from components.code import _reached

    assert {"page.html", "page.css", "page.js", "published.json"} <= set(_reached("components.report"))
    assert not {"page.html"} & set(_reached("components.trainer"))


def test_a_blank_inside_quotes_belongs_to_its_flag():
    assert flag_words("--model_dir='a b' --epochs=3 --data_dir=x\\ y") == [
        "--model_dir=a b",
        "--epochs=3",
        "--data_dir=x y",
    ]
    with pytest.raises(ValueError, match="cannot read the flags --stages='sgld: No closing quotation"):
        flag_words("--stages='sgld")
