"""`python -m components.run`: the pipeline here, or one component of it with folders given, as a container runs it.

python -m components.run --flagfile=configs/pipelines/digits.flags [--force=evaluator] [--from=trainer] [--only=report]
python -m components.run --component=trainer --in_examples=DIR --out_model=DIR --settings="$(cat RUN/config.json)"
"""

import sys

if __name__ == "__main__" and not sys.modules.get("tensorflow"):
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

import inspect
import json
import os
import shutil
import time
from typing import Any

from absl import flags

from jeat_tf.config import cli
from jeat_tf.core.files import whole_file, writable_folder
from jeat_tf.core.values import nearest
from jeat_tf.runs.locks import is_ours

from . import manifest
from .core import Component
from .data_prep import data_prep
from .evaluator import evaluator
from .local import LocalRunner, Outcome, call, producer
from .merge_evaluations import merge_evaluations
from .merge_samples import merge_samples
from .pipeline import build
from .report import report
from .sample_export import sample_export
from .settings import PipelineConfig
from .trainer import trainer
from .types import InputArtifacts

_AGAIN = "repeat the same command to resume at this step"
COMPONENTS: dict[str, Component] = {
    one.name: one for one in (data_prep, trainer, sample_export, merge_samples, evaluator, merge_evaluations, report)
}


def run_pipeline(config: PipelineConfig) -> dict[str, Outcome]:
    """Runs the pipeline that the settings describe.

    Raises:
      ValueError: bad settings, an unknown component, or results that are not there for steps of `only`.
    """
    graph = build(config)
    order = list(dict.fromkeys(node.component.name for node in graph.nodes.values()))
    force = order if config.force == "all" else _names(config.force)
    if config.start_from:
        if config.start_from not in order:
            raise ValueError(f'unknown component "{config.start_from}"; {nearest(config.start_from, order)}')
        force = [*force, *order[order.index(config.start_from) :]]
    runner = LocalRunner(writable_folder(config.pipeline_root, "pipeline_root"))
    started = time.monotonic()
    only = _names(config.only)
    outcomes = runner.run(graph, force=force, only=only)
    counts = {
        state: sum(o.state == state for o in outcomes.values())
        for state in dict.fromkeys(o.state for o in outcomes.values())
    }
    print(f"{', '.join(f'{count} {state}' for state, count in counts.items())} in {time.monotonic() - started:.0f} s")
    if outcomes["report"].outputs:
        made = os.path.join(outcomes["report"].outputs["report"], "report.html")
        shown = os.path.join(config.pipeline_root, "report.html")
        _copy(made, shown)
        print(f"report: {shown}, a copy of {made}")
    asked = [name for name, node in graph.nodes.items() if node.component.name in only]
    idle = [f"{name}: {outcomes[name].why}" for name in asked if outcomes[name].state == "skipped"]
    if idle:
        raise ValueError("not run, because what it needs is not there; run the others first\n  " + "\n  ".join(idle))
    return outcomes


def main(config: PipelineConfig) -> None:
    """Runs the pipeline; the program ends in a sentence for each step that failed."""
    if failed := run_with_report(config):
        sys.exit(f"error: {failed}")


def run_with_report(config: PipelineConfig, report: str = "") -> str:
    """Runs the pipeline and returns a sentence for each step that failed; empty where none did.

    Args:
      config: what to run.
      report: file for one more copy of the report; empty: none.
    """
    outcomes = run_pipeline(config)
    if report and (made := outcomes["report"].outputs):
        _copy(os.path.join(made["report"], "report.html"), report)
    failed = [f"{name}: {outcome.why}" for name, outcome in outcomes.items() if outcome.state == "failed"]
    if not failed:
        return ""
    return f"{len(failed)} of {len(outcomes)} steps failed; the others were run\n  " + "\n  ".join(failed)


def run_component(name: str, arguments: list[str]) -> None:
    """Runs one component with the folders and parameters that arguments say; writes the manifests of its outputs.

    Inputs are --in_NAME=folder (several: --in_NAME=name=folder,name=folder), outputs --out_NAME=folder, parameters
    --NAME=value.

    Raises:
      ValueError: an unknown component, a missing folder or parameter, or an input that is not what it should be.
    """
    if name not in COMPONENTS:
        raise ValueError(f'unknown component "{name}"; {nearest(name, COMPONENTS)}')
    component = COMPONENTS[name]
    values = _flags_of(component)
    try:
        extra = values([name, *arguments])[1:]
    except flags.Error as error:
        raise ValueError(f"{name}: {error}") from error
    if extra:
        raise ValueError(f"{name}: expected flags only, received {' '.join(extra)}; a flag is written --name=value")
    if values["help"].value:
        print(f"{inspect.getdoc(component.function)}\n\n{values.get_help()}")
        return
    inputs: dict[str, Any] = {}
    for key, port in component.inputs.items():
        given = values[f"in_{key}"].value
        if port.many:
            inputs[key] = InputArtifacts(_named_folders(f"{name}: --in_{key}", given))
        elif given:
            inputs[key] = given
        elif not port.optional:
            raise ValueError(f"{name}: expected --in_{key}, the folder of an artifact of type {port.type.__name__}")
    outputs = {key: values[f"out_{key}"].value for key in component.outputs}
    parameters = {key: values[key].value for key in component.parameters}
    for key, value in {**{f"out_{k}": v for k, v in outputs.items()}, **parameters}.items():
        if value is None or value == "" and key.startswith("out_"):
            raise ValueError(f"{name}: expected --{key}, received nothing")
    for properties in execute(component, inputs, outputs, parameters).values():
        print(json.dumps(properties))


def _flags_of(component: Component) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "say what the component takes and makes, and stop", flag_values=values)
    for key, port in component.inputs.items():
        what = (
            f"{'NAME=FOLDER,... of artifacts' if port.many else 'folder of an artifact'} of type {port.type.__name__}"
        )
        flags.DEFINE_string(f"in_{key}", "", what, flag_values=values)
    for key, port in component.outputs.items():
        what = f"folder of the artifact to make, of type {port.type.__name__}"
        flags.DEFINE_string(f"out_{key}", "", what, flag_values=values)
    define = {str: flags.DEFINE_string, int: flags.DEFINE_integer, bool: flags.DEFINE_bool, float: flags.DEFINE_float}
    for key, kind in component.parameters.items():
        define[kind](key, component.defaults.get(key), "parameter; see above", flag_values=values)
    return values


def _named_folders(flag: str, text: str) -> dict[str, str]:
    """{"a": "x", "b": "y"} of "a=x,b=y"."""
    folders: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        which, equals, folder = part.partition("=")
        if not equals or which in folders:
            raise ValueError(f"{flag}: expected NAME=FOLDER,NAME=FOLDER with each name once, received {text}")
        folders[which] = folder
    return folders


def execute(
    component: Component, inputs: dict[str, Any], outputs: dict[str, str], parameters: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Calls a component between the manifests of its inputs, which are checked, and those of its outputs.

    Args:
      component: which.
      inputs: folder of each input, or `InputArtifacts`.
      outputs: folder of each output.
      parameters: values.

    Returns:
      properties: of each output.

    Raises:
      ValueError: an input that is not what it should be, or what the component itself raises.
    """
    parents = {
        key: {k: manifest.read(path, component.inputs[key].type).digest for k, path in given.paths.items()}
        if isinstance(given, InputArtifacts)
        else manifest.read(given, component.inputs[key].type).digest
        for key, given in inputs.items()
    }
    _check_outputs(component, inputs, outputs)
    origin = {"producer": producer(component, parameters), "parameters": parameters, "parents": parents}
    properties = call(component, inputs, outputs, parameters)
    for key, port in component.outputs.items():
        manifest.write(outputs[key], port.type, properties[key], **origin)
    return properties


def _check_outputs(component: Component, inputs: dict[str, Any], outputs: dict[str, str]) -> None:
    """Raises ValueError where an output would be written over an input, or over an artifact of another type."""
    given = [p for v in inputs.values() for p in (v.paths.values() if isinstance(v, InputArtifacts) else [v])]
    taken = {os.path.realpath(path) for path in given}
    for key, path in outputs.items():
        if os.path.realpath(path) in taken:
            raise ValueError(f"expected --out_{key} to be another folder than those of the inputs, received {path}")
        if os.path.isdir(path) and os.listdir(path) and not os.path.exists(os.path.join(path, manifest.FILE)):
            if not is_ours(path):
                raise ValueError(
                    f"expected --out_{key} to be a folder without files, or one of this component, received {path}"
                )
        elif os.path.exists(os.path.join(path, manifest.FILE)):
            manifest.read(path, component.outputs[key].type)


def _copy(path: str, to: str) -> None:
    with whole_file(to) as temporary:
        shutil.copyfile(path, temporary)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _component_of(arguments: list[str]) -> tuple[str, list[str]]:
    """What --component says, or nothing, and the other arguments."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--component":
            taken = i + (1 if equals else 2)
            return value if equals else "".join(arguments[i + 1 : taken]), arguments[:i] + arguments[taken:]
    return "", arguments


def _main() -> None:
    name, rest = _component_of(sys.argv[1:])
    if name:
        verbose = "--verbose" in rest
        with cli.stated_failures(verbose=verbose, again="the same command resumes it"):
            if not verbose:
                cli.load_quietly()
            run_component(name, [word for word in rest if word != "--verbose"])
        return
    following = [*sys.argv[1:], "--"]
    sys.argv = [
        "--force=all" if argument == "--force" and after.startswith("--") else argument
        for argument, after in zip(sys.argv, following, strict=True)
    ]
    cli.run(PipelineConfig, main, name="components.run", again=_AGAIN, aliases={"from": "start_from"})


if __name__ == "__main__":
    _main()
