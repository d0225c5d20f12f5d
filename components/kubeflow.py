"""`python -m components.kubeflow`: the graph for Kubeflow Pipelines, each step a container of `components.run`.

python -m components.kubeflow --flagfile=configs/pipelines/digits.flags --image=REGISTRY/jeat_tf:0.1.0
"""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from jeat_tf.config import cli
from jeat_tf.core.files import whole_file
from jeat_tf.core.values import nearest

from .core import Graph, Node
from .pipeline import build
from .run import COMPONENTS
from .settings import KubeflowConfig
from .wiring import single_inputs

# Tags that can be moved say nothing about the code, and the cluster's cache knows a step's code by its image alone.
_PINNED = re.compile(r".*(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Resources(NamedTuple):
    """What the steps of a component ask of the cluster; empty: what it gives by default.

    Attributes:
      cpu: e.g. "8" or "500m".
      memory: e.g. "16G".
      accelerator: e.g. "nvidia.com/gpu".
      accelerator_count: of them.
    """

    cpu: str = ""
    memory: str = ""
    accelerator: str = ""
    accelerator_count: int = 0


def compile_graph(
    graph: Graph,
    image: str,
    *,
    output: str,
    pipeline_name: str = "jeat-tf",
    resources: dict[str, Resources] | None = None,
) -> None:
    """Writes the graph as a pipeline of Kubeflow Pipelines v2 (YAML).

    Each node is a container that runs `python -m jeat_tf.components.run --component=...` with the paths that the
    cluster gives it; the image needs this package and no kfp. Steps whose image, inputs and parameters are unchanged
    are taken from the cluster's cache.

    Args:
      graph: what to run.
      image: container image of all steps, with a tag or a digest.
      output: the file, NAME.yaml.
      pipeline_name: on the cluster.
      resources: by name of the component.

    Raises:
      ValueError: kfp is not installed, or a name that the cluster would refuse.
    """
    dsl, compiler = _kfp()
    if not _PINNED.fullmatch(image.rpartition("/")[2]):
        raise ValueError(
            f"expected --image with a tag other than latest, or with a digest, received {image or 'nothing'}: the "
            "cluster's cache knows the code of a step by its image alone"
        )
    if not _NAME.fullmatch(pipeline_name):
        raise ValueError(f"expected --pipeline_name of lower case, digits and hyphens, received {pipeline_name}")
    if not output.endswith(".yaml"):
        raise ValueError(f"expected --output=NAME.yaml, received {output or 'nothing'}")
    steps: dict[tuple, Callable[..., Any]] = {}

    def pipeline() -> None:
        tasks: dict[str, Any] = {}
        for node in graph.nodes.values():
            wired = single_inputs(node)
            # Nodes that differ in parameters alone are one component of the pipeline.
            shape = (node.component.name, *wired)
            step = steps.setdefault(shape, _container_component(dsl, node, image))
            artifacts = {name: tasks[output.node].outputs[output.name] for name, (_, _, output) in wired.items()}
            task = step(**artifacts, **node.parameters).set_display_name(node.name).set_caching_options(True)
            _request(task, (resources or {}).get(node.component.name, Resources()))
            tasks[node.name] = task

    with whole_file(output) as temporary:
        compiler.Compiler().compile(dsl.pipeline(name=pipeline_name)(pipeline), temporary)


def requested(config: KubeflowConfig) -> dict[str, Resources]:
    """What the settings ask of the cluster, by component.

    Raises:
      ValueError: an unknown component, or a count that is no number.
    """
    cpu, memory = _by_component("cpu", config.cpu), _by_component("memory", config.memory)
    counts = _by_component("accelerator_count", config.accelerator_count)
    for count in counts.values():
        if not re.fullmatch(r"[1-9]\d*|", count):
            raise ValueError(f"expected --accelerator_count as 1 or trainer=1,evaluator=2, received {count}")
    if any(counts.values()) and not config.accelerator:
        raise ValueError("expected --accelerator, e.g. nvidia.com/gpu, with --accelerator_count, received nothing")
    return {
        name: Resources(cpu[name], memory[name], config.accelerator if counts[name] else "", int(counts[name] or 0))
        for name in COMPONENTS
    }


def _by_component(flag: str, text: str) -> dict[str, str]:
    """{"trainer": "8", "evaluator": "4", ...} of "4,trainer=8"."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    default = [part for part in parts if "=" not in part]
    if len(default) > 1:
        raise ValueError(f"expected --{flag} as 4, trainer=8,evaluator=4 or 4,trainer=8, received {text}")
    values = dict.fromkeys(COMPONENTS, default[0] if default else "")
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name not in COMPONENTS:
            raise ValueError(f'--{flag}: unknown component "{name}"; {nearest(name, COMPONENTS)}')
        if equals:
            values[name] = value
    return values


def _container_component(dsl: Any, node: Node, image: str) -> Any:
    """The component of kfp that runs nodes like this one."""
    wired, component = single_inputs(node), node.component
    types = {kind.schema_title: kind for kind in (dsl.Artifact, dsl.Dataset, dsl.Model, dsl.Metrics, dsl.HTML)}
    annotations: dict[str, Any] = {
        **{name: dsl.Input[types[output.type.KFP_SCHEMA]] for name, (_, _, output) in wired.items()},
        **{name: dsl.Output[types[port.type.KFP_SCHEMA]] for name, port in component.outputs.items()},
        **component.parameters,
    }

    def step(*channels: Any) -> Any:
        """kfp calls it once with a channel for each name, and puts what the cluster fills in in their place."""
        given = dict(zip(annotations, channels, strict=True))
        inputs: dict[str, str] = {}
        for name, (key, which, _) in wired.items():
            path = f"{which}={given[name].path}" if which else str(given[name].path)
            inputs[key] = f"{inputs[key]},{path}" if key in inputs else path
        arguments = [
            f"--component={component.name}",
            *[f"--in_{key}={paths}" for key, paths in inputs.items()],
            *[f"--out_{name}={given[name].path}" for name in component.outputs],
            *[f"--{name}={given[name]}" for name in component.parameters],
        ]
        return dsl.ContainerSpec(image=image, command=["python", "-m", "jeat_tf.components.run"], args=arguments)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = [inspect.Parameter(name, kind, annotation=annotation) for name, annotation in annotations.items()]
    step.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    step.__name__ = component.name
    step.__doc__ = (inspect.getdoc(component.function) or "").partition("\n")[0]
    return dsl.container_component(step)


def _request(task: Any, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory)
    if resources.accelerator_count:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.accelerator_count)


def _kfp() -> tuple[Any, Any]:
    try:
        from kfp import compiler, dsl
    except ImportError as error:
        raise ValueError(
            f"cannot compile without kfp ({error}); install the extra: pip install 'jeat_tf[kfp]'. The image of the "
            "steps does not need it"
        ) from error
    return dsl, compiler


def _main(config: KubeflowConfig) -> None:
    chosen = [flag for flag in ("force", "start_from", "only") if getattr(config.pipeline, flag)]
    if chosen:
        raise ValueError(f"--{chosen[0]} is of the runner here; on the cluster, its own cache decides what is run")
    graph = build(config.pipeline)
    compile_graph(
        graph,
        config.image,
        output=config.output,
        pipeline_name=config.pipeline_name,
        resources=requested(config),
    )
    print(f"written: {config.output}, {len(graph.nodes)} steps")


if __name__ == "__main__":
    cli.run(KubeflowConfig, _main, name="components.kubeflow")
