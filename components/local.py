"""Runs a graph here: in order, in this process, each step once for the same inputs, parameters and code."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from absl import logging

from jeat_tf.core.failures import FAULT, sentence, status
from jeat_tf.core.files import read_json, remove_partial, sha256, write_json
from jeat_tf.runs.locks import held

from . import manifest
from .code import code_sha256
from .core import Component, Graph, Node, Output
from .store import Lineage, Made, Read
from .types import InputArtifact, InputArtifacts, OutputArtifact

_DONE = "done.json"


class Outcome(NamedTuple):
    """The result of a node.

    Attributes:
      state: "complete", "cached", "failed" or "skipped".
      why: description of the reason.
      outputs: folder of each artifact, if there are any.
      seconds: of this call.
    """

    state: str
    why: str
    outputs: dict[str, str]
    seconds: float


def call(
    component: Component, inputs: dict[str, Any], outputs: dict[str, str], parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Calls a component's function; returns the properties it has set, by output.

    Args:
      component: which.
      inputs: folder of each input, or `InputArtifacts`.
      outputs: folder of each output, made if need be; what is in it belongs to an earlier call of the same step.
      parameters: values.
    """
    for path in outputs.values():
        os.makedirs(path, exist_ok=True)
    made = {name: OutputArtifact[Any](path) for name, path in outputs.items()}
    given = {k: v if isinstance(v, InputArtifacts) else InputArtifact[Any](v) for k, v in inputs.items()}
    component.function(**given, **made, **parameters)
    for path in outputs.values():
        for folder, _, _ in os.walk(path):
            remove_partial(folder)
    return {name: artifact.properties for name, artifact in made.items()}


def producer(component: Component, parameters: dict[str, Any]) -> dict[str, Any]:
    """Component, version, and digests of its code and of all files and folders that its parameters name.

    data_dir is left out: it may hold any number of data sets, and what TFDS has prepared there under a name has a
    version.
    """
    paths = {path for name, value in parameters.items() for path in _paths(name, value)}
    named = {path: sha256(path) for path in sorted(paths) if os.path.exists(path)}
    code = code_sha256(component.function.__module__)
    return {"component": component.name, "version": component.version, "code": code, "files": named}


def _paths(name: str, value: Any) -> Iterator[str]:
    """What a parameter may name: the texts in it, and in JSON those of all settings."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _paths(key, inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _paths(name, inside)
    elif isinstance(value, str) and value.startswith("{"):
        with contextlib.suppress(ValueError):
            yield from _paths(name, json.loads(value))
    elif isinstance(value, str) and name != "data_dir":
        nets = re.sub(r":\w+=.*", "", value, flags=re.DOTALL)  # a net's settings stand behind its path
        for part in (value, nets, *nets.split(",")):
            yield from (part, part.rpartition("=")[2].strip())


class LocalRunner:
    """A folder of artifacts, their lineage, and unfinished steps.

    `artifacts/<type>/<key>` holds artifacts, whole or absent. `work/<key>` holds what a step has made so far, so that a
    step that was killed can resume. `lineage.sqlite` records which step made what from what. The key of a step is a
    digest of component, version, code, parameters, the files that these name, and the digests of its inputs.
    """

    def __init__(self, root: str, *, say: Callable[[str], None] = print):
        """
        Args:
          root: folder, made if need be.
          say: takes a line for each step.
        """
        os.makedirs(root, exist_ok=True)
        self.root = os.path.abspath(root)
        self.lineage = Lineage(os.path.join(self.root, "lineage.sqlite"))
        self.say = say

    def run(
        self,
        graph: Graph,
        *,
        force: Iterable[str] = (),
        only: Iterable[str] = (),
    ) -> dict[str, Outcome]:
        """Runs the nodes in order; one that fails does not stop those that do not need it.

        Args:
          graph: what to run.
          force: names of components that are run though their results are there.
          only: names of components that are run; the others' results must be there. Empty: all.

        Raises:
          KeyboardInterrupt: stopped; the same call resumes the run.
          ValueError: an unknown component.
          FolderInUse: another process is at work in this folder.
        """
        known = {node.component.name for node in graph.nodes.values()}
        for name in [*force, *only]:
            if name not in known:
                raise ValueError(
                    f"expected a component of the pipeline, one of {', '.join(sorted(known))}, received {name}"
                )
        outcomes: dict[str, Outcome] = {}
        with held(self.root, "components.run"):
            for i, node in enumerate(graph.nodes.values(), start=1):
                started = time.monotonic()
                allowed = not only or node.component.name in only
                outcome = self._outcome(node, outcomes, force=node.component.name in force, allowed=allowed)
                outcomes[node.name] = outcome._replace(seconds=time.monotonic() - started)
                left = self._left(graph, outcomes)
                self.say(
                    f"[{i}/{len(graph.nodes)}] {node.name}: {outcome.state}, {outcome.why} "
                    f"({outcomes[node.name].seconds:.1f} s{left})"
                )
        return outcomes

    def _outcome(self, node: Node, outcomes: dict[str, Outcome], *, force: bool, allowed: bool) -> Outcome:
        inputs: dict[str, Any] = {}
        for name, wired in node.inputs.items():
            if isinstance(wired, Output):
                source = outcomes[wired.node]
                if source.state not in ("complete", "cached"):
                    return Outcome("skipped", f"{wired.node} has {source.state}", {}, 0.0)
                inputs[name] = source.outputs[wired.name]
            else:
                there = {k: outcomes[o.node] for k, o in wired.items()}
                inputs[name] = InputArtifacts(
                    {k: there[k].outputs[o.name] for k, o in wired.items() if there[k].outputs},
                    {k: there[k].why for k in wired if not there[k].outputs},
                )
        try:
            digests = {
                name: {k: self._digest(node, name, path) for k, path in value.paths.items()}
                if isinstance(value, InputArtifacts)
                else self._digest(node, name, value)
                for name, value in inputs.items()
            }
            origin = {
                "producer": producer(node.component, node.parameters),
                "parameters": node.parameters,
                "parents": digests,
            }
            # What is missing is told by the step, and is as much a part of its result as what is there.
            missing = {name: value.missing for name, value in inputs.items() if isinstance(value, InputArtifacts)}
            key = hashlib.sha256(json.dumps([origin, missing], sort_keys=True).encode()).hexdigest()[:24]
            outputs = {
                name: os.path.join(self.root, "artifacts", port.type.__name__, key)
                for name, port in node.component.outputs.items()
            }
            if force and allowed:
                self._forget(key, outputs)
            if self._cached(node, key, outputs):
                return Outcome("cached", "inputs, parameters and code are unchanged", outputs, 0.0)
            if not allowed:
                return Outcome("skipped", "not requested, and its result does not exist", {}, 0.0)
            self._execute(node, key, inputs, digests, outputs, origin)
            return Outcome("complete", f"written to {', '.join(outputs.values())}", outputs, 0.0)
        except Exception as error:
            if status(error) == FAULT:  # of ours, in one cell: its traceback is shown, and the others are run
                logging.exception("%s", node.name)
            return Outcome("failed", sentence(error), {}, 0.0)

    def _digest(self, node: Node, name: str, path: str) -> str:
        return manifest.read(path, node.component.inputs[name].type).digest

    def _cached(self, node: Node, key: str, outputs: dict[str, str]) -> bool:
        execution = self.lineage.execution(key)
        if execution is None or execution.state != "COMPLETE":
            return False
        for name, path in outputs.items():
            if not os.path.isdir(path):
                return False
            found = manifest.read(path, node.component.outputs[name].type)
            if self.lineage.sealed(path, found.digest) != manifest.seal(path):
                raise ValueError(
                    f"the artifact in {path} is not the one that was made there: its manifest was changed or replaced; "
                    f"remove the folder, or run {node.component.name} again with --force={node.component.name}"
                )
        return True

    def _forget(self, key: str, outputs: dict[str, str]) -> None:
        for path in [*outputs.values(), self._work(key)]:
            shutil.rmtree(path, ignore_errors=True)

    def _execute(
        self,
        node: Node,
        key: str,
        inputs: dict[str, Any],
        digests: dict[str, Any],
        outputs: dict[str, str],
        origin: dict[str, Any],
    ) -> None:
        self.lineage.begin(node.name, node.component.name, key, node.parameters)
        work = self._work(key)
        started = time.monotonic()
        try:
            made = self._made(node, work, inputs)
        except Exception:
            self.lineage.fail(key)
            raise
        written = []
        for name, port in node.component.outputs.items():
            folder = os.path.join(work, name)
            if os.path.isdir(folder):  # else a call that was killed here has moved it already
                manifest.write(folder, port.type, made[name], **origin)
                os.makedirs(os.path.dirname(outputs[name]), exist_ok=True)
                if os.path.isdir(outputs[name]):
                    shutil.rmtree(outputs[name])
                os.replace(folder, outputs[name])
            folder = outputs[name]
            digest = manifest.read(folder, port.type).digest
            written.append(Made(name, port.type.__name__, folder, digest, manifest.seal(folder)))
        read = []
        for name, value in inputs.items():
            many = isinstance(value, InputArtifacts)
            folders = value.paths if many else {"": value}
            read += [Read(name, path, digests[name][k] if many else digests[name]) for k, path in folders.items()]
        self.lineage.complete(key, read, written, time.monotonic() - started)
        shutil.rmtree(work, ignore_errors=True)

    def _made(self, node: Node, work: str, inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Properties of the outputs, now in `work`; the function is not called again where it has ended before."""
        done = os.path.join(work, _DONE)
        if os.path.exists(done):
            return read_json(done, dict, remedy="remove it to run this step again")
        outputs = {name: os.path.join(work, name) for name in node.component.outputs}
        properties = call(node.component, inputs, outputs, node.parameters)
        write_json(done, properties)
        return properties

    def _work(self, key: str) -> str:
        return os.path.join(self.root, "work", key)

    def _left(self, graph: Graph, outcomes: dict[str, Outcome]) -> str:
        """How long the rest will take, as its components took here, or else before; nothing where one never ran."""
        spent: dict[str, list[float]] = {}
        for name, outcome in outcomes.items():
            if outcome.state == "complete":
                spent.setdefault(graph.nodes[name].component.name, []).append(outcome.seconds)
        rest = [node.component.name for name, node in graph.nodes.items() if name not in outcomes]
        if not rest or not spent:
            return ""
        mean = self.lineage.mean_seconds() | {name: sum(times) / len(times) for name, times in spent.items()}
        if not set(rest) <= set(mean):
            return ""
        seconds = sum(mean[name] for name in rest)
        return f"; about {seconds:.0f} s left" if seconds < 90 else f"; about {seconds / 60:.0f} min left"
