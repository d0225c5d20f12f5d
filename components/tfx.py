"""`python -m components.tfx`: the graph under TFX' LocalDagRunner, with ML Metadata in place of our lineage.

python -m components.tfx --flagfile=configs/pipelines/digits.flags
"""

import functools
import inspect
import os
from typing import Any

from jeat_tf.config import cli
from jeat_tf.core.files import writable_folder

from . import manifest
from .code import code_sha256
from .core import Graph, Node
from .pipeline import build
from .run import execute
from .settings import PipelineConfig
from .types import InputArtifacts
from .wiring import single_inputs


def run_graph(graph: Graph, root: str, *, pipeline_name: str = "jeat-tf") -> None:
    """Runs the graph here by TFX, which takes from its cache what is unchanged: inputs, parameters, and our code.

    Args:
      graph: what to run.
      root: folder of artifacts and of `metadata.sqlite`.
      pipeline_name: in ML Metadata.

    Raises:
      ValueError: TFX is not installed, or a component's own errors; TFX stops at the first.
    """
    tfx = _tfx()
    classes: dict[tuple, Any] = {}
    nodes: dict[str, Any] = {}
    for node in graph.nodes.values():
        wired = single_inputs(node)
        shape = (node.component.name, *wired)
        if shape not in classes:
            number = sum(shape[0] == other[0] for other in classes)
            classes[shape] = tfx.dsl.components.component(_function(tfx, node, f"{node.component.name}_{number}"))
        inputs = {name: nodes[output.node].outputs[output.name] for name, (_, _, output) in wired.items()}
        code = code_sha256(node.component.function.__module__)
        nodes[node.name] = classes[shape](**inputs, **node.parameters, code=code).with_id(node.name)
    pipeline = tfx.dsl.Pipeline(
        pipeline_name=pipeline_name,
        pipeline_root=root,
        components=list(nodes.values()),
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            os.path.join(root, "metadata.sqlite")
        ),
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


def _function(tfx: Any, node: Node, name: str) -> Any:
    """What TFX calls for nodes like this one: folders and values in, `components.run.execute` on them."""
    component, wired = node.component, single_inputs(node)
    annotate = tfx.dsl.components
    annotations: dict[str, Any] = {
        **{key: annotate.InputArtifact[_artifact(output.type.__name__)] for key, (_, _, output) in wired.items()},
        **{key: annotate.OutputArtifact[_artifact(port.type.__name__)] for key, port in component.outputs.items()},
        **{key: annotate.Parameter[kind] for key, kind in component.parameters.items()},
        # TFX' cache does not know the code of a function; as a parameter, it does.
        "code": annotate.Parameter[str],
    }

    def function(**given: Any) -> None:
        inputs: dict[str, Any] = {key: InputArtifacts({}) for key, port in component.inputs.items() if port.many}
        for key, (name_of_port, which, _) in wired.items():
            if which:
                inputs[name_of_port].paths[which] = given[key].uri
            else:
                inputs[name_of_port] = given[key].uri
        outputs = {key: given[key].uri for key in component.outputs}
        execute(component, inputs, outputs, {key: given[key] for key in component.parameters})
        for key, port in component.outputs.items():
            digest = manifest.read(outputs[key], port.type).digest
            given[key].set_string_custom_property("digest", digest)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = [inspect.Parameter(key, kind, annotation=annotation) for key, annotation in annotations.items()]
    function.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    function.__annotations__ = {**annotations, "return": None}
    # TFX finds an executor again by the name of its function in a module.
    function.__name__ = function.__qualname__ = name
    return function


@functools.cache
def _artifact(kind: str) -> Any:
    """TFX' counterpart of an artifact type; its own Examples and Model are of another content."""
    return type(kind, (_tfx().dsl.Artifact,), {"TYPE_NAME": f"Jeat{kind}", "PROPERTIES": {}})


def _tfx() -> Any:
    # TensorFlow Transform, which TFX imports, asks for Keras 2 where nothing is said.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
    try:
        from tfx import v1
    except ImportError as error:
        raise ValueError(
            f"cannot run without TFX ({error}); install the extra: pip install 'jeat_tf[tfx]', on Linux with glibc >= "
            "2.39 (Debian 13, Ubuntu 24.04), because ML Metadata has no wheels for older ones"
        ) from error
    return v1


def _main(config: PipelineConfig) -> None:
    root = writable_folder(config.pipeline_root, "pipeline_root")
    run_graph(build(config), os.path.abspath(root))


if __name__ == "__main__":
    cli.run(PipelineConfig, _main, name="components.tfx")
