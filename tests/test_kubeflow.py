"""The graph as a pipeline of Kubeflow; needs the extra [kfp], but for what is said without it."""

import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from components import manifest
from components.kubeflow import Resources, compile_graph, requested
from components.pipeline import build
from components.settings import KubeflowConfig, PipelineConfig
from components.types import Evaluation, Examples, Model, Report, Samples
from components.wiring import single_inputs
from jeat_tf.core.flat import replace

IMAGE = "registry.example/jeat_tf:0.1.0"
TYPES = {"examples": Examples, "model": Model, "samples": Samples, "evaluation": Evaluation, "report": Report}


def settings(**changes):
    tiny = {
        "methods": "standard",
        "seeds": "0",
        "train_flags": "--epochs=1 --robust_every=0 --images_every=0",
        "judge_flags": "--epochs=1 --robust_every=0 --images_every=0",
        "sample_flags": "--num=20 --batch_size=10 --shard_size=10 --stages=sgld:steps=3",
        "sample_shards": 2,
        "evaluate_flags": "--attacks=clean,fgsm --num_images=50 --audit_images=0",
        "evaluate_shards": 2,
    }
    return PipelineConfig(**tiny | changes)


@pytest.mark.skipif(importlib.util.find_spec("kfp") is not None, reason="kfp is installed")
def test_without_kfp_the_extra_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"without kfp .*jeat_tf\[kfp\]"):
        compile_graph(build(settings()), IMAGE, output=str(tmp_path / "pipeline.yaml"))


def test_many_inputs_become_single_ones_with_names_of_their_own():
    nodes = build(settings(methods="standard,pgd_at")).nodes
    wired = single_inputs(nodes["report"])
    assert list(wired)[:3] == ["models_standard_0", "models_pgd_at_0", "evaluations_standard_0"]
    assert wired["models_pgd_at_0"][:2] == ("models", "pgd_at-0")
    assert all(name.isidentifier() for name in wired)
    assert list(single_inputs(nodes["trainer-judge"])) == ["examples"]
    report = nodes["report"]
    alike = report._replace(inputs={"models": dict.fromkeys(["m-0", "m_0"], nodes["trainer-judge"].output("model"))})
    with pytest.raises(ValueError, match="differ in letters and digits"):
        single_inputs(alike)


def test_resources_are_of_all_components_or_of_one():
    asked = replace(KubeflowConfig(), cpu="2,trainer=8", memory="evaluator=4G", accelerator_count="trainer=1")
    found = requested(asked)
    assert found["trainer"] == Resources("8", "", "nvidia.com/gpu", 1)
    assert found["evaluator"] == Resources("2", "4G", "", 0)
    assert found["report"] == Resources("2", "", "", 0)
    assert requested(KubeflowConfig())["trainer"] == Resources()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cpu": "trainr=8"}, "--cpu: unknown component .*trainer"),
        ({"memory": "4G,8G"}, "expected --memory as"),
        ({"accelerator_count": "trainer=many"}, "expected --accelerator_count as"),
        ({"accelerator_count": "1", "accelerator": ""}, "expected --accelerator, "),
    ],
)
def test_bad_resources_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        requested(replace(KubeflowConfig(), **changes))


class TestWithKfp:
    @pytest.fixture(autouse=True)
    def _kfp(self):
        pytest.importorskip("kfp", reason="needs the extra [kfp]")

    @pytest.fixture
    def compiled(self, tmp_path):
        """The tiny pipeline, and the document that it is compiled to."""
        import yaml

        graph = build(settings())
        resources = {"trainer": Resources("8", "16G", "nvidia.com/gpu", 1)}
        compile_graph(graph, IMAGE, output=str(tmp_path / "pipeline.yaml"), resources=resources)
        return graph, yaml.safe_load((tmp_path / "pipeline.yaml").read_text())

    def test_it_is_a_pipeline_to_kfp(self, compiled):
        from google.protobuf import json_format
        from kfp.pipeline_spec import pipeline_spec_pb2

        graph, document = compiled
        spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
        assert spec.pipeline_info.name == "jeat-tf"
        tasks = {task.task_info.name: task for task in spec.root.dag.tasks.values()}
        assert set(tasks) == set(graph.nodes)
        assert all(task.caching_options.enable_cache for task in tasks.values())
        for name, node in graph.nodes.items():
            assert {
                spec.root.dag.tasks[parent].task_info.name for parent in tasks[name].dependent_tasks
            } == node.parents()

    def test_artifacts_and_parameters_have_their_types(self, compiled):
        _, document = compiled
        merged = document["components"]["comp-merge-evaluations"]
        schemas = {k: v["artifactType"]["schemaTitle"] for k, v in merged["inputDefinitions"]["artifacts"].items()}
        assert schemas == {
            "shards_shard_0": "system.Metrics",
            "shards_shard_1": "system.Metrics",
            "examples": "system.Dataset",
            "model": "system.Model",
            "samples": "system.Dataset",
            "judge": "system.Model",
        }
        parameters = merged["inputDefinitions"]["parameters"]
        assert {k: v["parameterType"] for k, v in parameters.items()} == {
            "settings": "STRING",
            "seed": "NUMBER_INTEGER",
        }
        made = merged["outputDefinitions"]["artifacts"]["evaluation"]
        assert made["artifactType"]["schemaTitle"] == "system.Metrics"
        page = document["components"]["comp-report"]["outputDefinitions"]["artifacts"]["report"]
        assert page["artifactType"]["schemaTitle"] == "system.HTML"

    def test_only_what_was_asked_for_asks_for_resources(self, compiled):
        _, document = compiled
        executors = document["deploymentSpec"]["executors"]
        assert executors["exec-trainer"]["container"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert executors["exec-trainer"]["container"]["resources"]["resourceCpuRequest"] == "8"
        assert "resources" not in executors["exec-evaluator"]["container"]

    @pytest.mark.parametrize("image", ["", "jeat_tf", "registry.example:5000/jeat_tf", "jeat_tf:latest"])
    def test_an_image_that_may_change_is_refused(self, image, tmp_path):
        with pytest.raises(ValueError, match="expected --image with a tag other than latest"):
            compile_graph(build(settings()), image, output=str(tmp_path / "pipeline.yaml"))

    @pytest.mark.parametrize("image", [IMAGE, "registry.example:5000/jeat_tf@sha256:" + "0" * 64])
    def test_an_image_that_is_pinned_is_taken(self, image, tmp_path):
        compile_graph(build(settings()), image, output=str(tmp_path / "pipeline.yaml"))
        assert image in (tmp_path / "pipeline.yaml").read_text()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"output": "pipeline.json"}, "NAME.yaml"), ({"pipeline_name": "JEAT"}, "lower case")],
    )
    def test_names_that_kubeflow_would_refuse_are_refused(self, changes, message, tmp_path):
        given = {"output": str(tmp_path / "pipeline.yaml")} | changes
        with pytest.raises(ValueError, match=message):
            compile_graph(build(settings()), IMAGE, **given)

    @pytest.mark.slow
    def test_every_command_runs_as_it_is_written(self, compiled, tmp_path):
        """The cluster's part, placeholders and order, is played by this test; each step is a process of its own."""
        _, document = compiled
        tasks = document["root"]["dag"]["tasks"]
        done: dict[str, dict[str, str]] = {}
        while len(done) < len(tasks):
            name = next(
                n for n, t in tasks.items() if n not in done and done.keys() >= set(t.get("dependentTasks", []))
            )
            done[name] = self.run_step(document, name, done, str(tmp_path / name))
        report = done["report"]["report"]
        assert {"report.html", "report.json", "report.md", "report.tex"} <= set(os.listdir(report))
        assert manifest.read(done["merge-samples"]["samples"], Samples).properties["num"] == 20
        with open(os.path.join(done["merge-evaluations"]["evaluation"], "results.json"), encoding="utf-8") as f:
            assert json.load(f)["shards"] == 2

    @staticmethod
    def run_step(document, name, done, folder):
        """Runs a task of the document; folders of its outputs."""
        task = document["root"]["dag"]["tasks"][name]
        component = document["components"][task["componentRef"]["name"]]
        container = document["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        outputs = {key: os.path.join(folder, key) for key in component["outputDefinitions"]["artifacts"]}
        sources = {key: v["taskOutputArtifact"] for key, v in task["inputs"].get("artifacts", {}).items()}
        inputs = {key: done[v["producerTask"]][v["outputArtifactKey"]] for key, v in sources.items()}
        constants = {key: v["runtimeValue"]["constant"] for key, v in task["inputs"].get("parameters", {}).items()}

        def filled(match):
            side, kind, key = match.groups()
            if kind == "parameters":
                value = constants[key]
                if isinstance(value, bool):
                    return str(value).lower()
                # Kubeflow keeps numbers as floating-point ones, and writes whole ones without a point.
                return f"{value:g}" if isinstance(value, float) else value
            return (inputs if side == "inputs" else outputs)[key]

        line = [*container["command"], *container["args"]]
        line = [re.sub(r"\{\{\$\.(\w+)\.(\w+)\['(\w+)'\](?:\.path)?\}\}", filled, part) for part in line]
        assert line[:3] == ["python", "-m", "jeat_tf.components.run"]
        assert "{{" not in " ".join(line)
        ended = subprocess.run([sys.executable, *line[1:]], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-2000:]
        for key, path in outputs.items():
            manifest.read(path, TYPES[key])
        return outputs
