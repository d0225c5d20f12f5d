"""Components, and graphs of them whose wiring is checked before anything runs."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .types import (
    Artifact,
    InputArtifact,
    InputArtifacts,
    OutputArtifact,
    Port,
    is_parameter,
)


class Component(NamedTuple):
    """A function with typed inputs, outputs and parameters.

    Attributes:
      name: of the function.
      version: raise it when the outputs change and the code's digest does not, e.g. because a library changed.
      function: called with `InputArtifact`s, `OutputArtifact`s and values.
      inputs: by name.
      outputs: by name.
      parameters: type by name.
      defaults: of those parameters that have one.
    """

    name: str
    version: str
    function: Callable[..., None]
    inputs: dict[str, Port]
    outputs: dict[str, Port]
    parameters: dict[str, type]
    defaults: dict[str, Any]


class Output(NamedTuple):
    """An output of a node."""

    node: str
    name: str
    type: type[Artifact]


class Node(NamedTuple):
    """A component with its inputs wired and its parameters set.

    Attributes:
      name: unique in its graph, e.g. "trainer-jeat-0".
      component: what it runs.
      inputs: an `Output`, or several by name, for each input that is wired.
      parameters: all of them.
    """

    name: str
    component: Component
    inputs: dict[str, Output | dict[str, Output]]
    parameters: dict[str, Any]

    def output(self, name: str) -> Output:
        """The output of that name."""
        return Output(self.name, name, self.component.outputs[name].type)

    def parents(self) -> set[str]:
        """Names of the nodes whose outputs it reads."""
        wired = [list(value.values()) if isinstance(value, dict) else [value] for value in self.inputs.values()]
        return {output.node for outputs in wired for output in outputs}


def component(version: str) -> Callable[[Callable[..., None]], Component]:
    """Turns a function into a component by its annotations `InputArtifact`, `OutputArtifact` and `Parameter`.

    Args:
      version: part of the key of its steps.

    Raises:
      TypeError: an argument with another annotation.
    """

    def declare(function: Callable[..., None]) -> Component:
        hints = typing.get_type_hints(function, include_extras=True)
        hints.pop("return", None)
        inputs, outputs, parameters = {}, {}, {}
        for name, hint in hints.items():
            optional = type(None) in typing.get_args(hint)
            hint = next(part for part in typing.get_args(hint) if part is not type(None)) if optional else hint
            origin, arguments = typing.get_origin(hint), typing.get_args(hint)
            if is_parameter(hint):
                parameters[name] = arguments[0]
            elif origin in (InputArtifact, InputArtifacts):
                inputs[name] = Port(arguments[0], many=origin is InputArtifacts, optional=optional)
            elif origin is OutputArtifact:
                outputs[name] = Port(arguments[0])
            else:
                raise TypeError(
                    f"expected {function.__name__}({name}) to be an InputArtifact, InputArtifacts, OutputArtifact or "
                    f"Parameter, received {hint}"
                )
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
            if name in parameters and parameter.default is not inspect.Parameter.empty
        }
        return Component(function.__name__, version, function, inputs, outputs, parameters, defaults)

    return declare


class Graph:
    """Nodes in the order in which they were added, each after those it reads from."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, component: Component, **arguments: Any) -> Node:
        """Adds a node.

        Args:
          name: unique.
          component: what it runs.
          arguments: an `Output`, or a dict of them, for each input; a value for each parameter without default.

        Raises:
          TypeError: an input that is missing or of another type, or an argument that the component does not have.
          ValueError: the name is taken, or an input comes from another graph.
        """
        if name in self.nodes:
            raise ValueError(f'expected node names to be unique, received "{name}" twice')
        known = {*component.inputs, *component.parameters}
        for argument in arguments:
            if argument not in known:
                raise TypeError(f"{name}: {component.name} has no input or parameter {argument}, but {sorted(known)}")
        inputs = {key: value for key, value in arguments.items() if key in component.inputs and value is not None}
        for key, port in component.inputs.items():
            self._check(f"{name}({key})", port, inputs.get(key))
        parameters = component.defaults | {k: v for k, v in arguments.items() if k in component.parameters}
        for key, kind in component.parameters.items():
            if key not in parameters:
                raise TypeError(f"{name}: expected a value for the parameter {key} of {component.name}")
            if not isinstance(parameters[key], kind) or (kind is int and isinstance(parameters[key], bool)):
                raise TypeError(f"{name}: expected {key} to be {kind.__name__}, received {parameters[key]!r}")
        node = Node(name, component, inputs, parameters)
        self.nodes[name] = node
        return node

    def _check(self, where: str, port: Port, given: Any) -> None:
        if given is None:
            if not port.optional:
                raise TypeError(f"{where}: expected an artifact of type {port.type.__name__}, received none")
            return
        if port.many != isinstance(given, Mapping):
            raise TypeError(f"{where}: expected {'outputs by name' if port.many else 'one output'}, received {given!r}")
        for output in given.values() if port.many else [given]:
            if not isinstance(output, Output) or not issubclass(output.type, port.type):
                kind = output.type.__name__ if isinstance(output, Output) else repr(output)
                raise TypeError(f"{where}: expected an artifact of type {port.type.__name__}, received {kind}")
            if output.node not in self.nodes:
                raise ValueError(f"{where}: {output.node} is no node of this graph")
