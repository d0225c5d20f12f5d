"""A net without its last layer: features, and a body for a new head."""

from typing import Any

import keras


def before_last_dense(net: keras.Model, *, through: bool = False) -> keras.Model | None:
    """A net's images -> what its last layer takes, over the same layers; None where that layer is not a dense one.

    Args:
      net: functional or Sequential; nets inside it are looked into.
      through: take the last dense layer also where other layers follow it.
    """
    if not getattr(net, "outputs", None) or len(net.outputs) != 1:
        return None
    features = _before(net.outputs[0], through)
    return None if features is None else keras.Model(net.inputs[0], features, name=net.name)


def _before(tensor: Any, through: bool) -> Any | None:
    operation, place, which = tensor._keras_history
    sources = operation._inbound_nodes[place].input_tensors
    if isinstance(operation, keras.layers.Dense):
        return sources[0]
    if hasattr(operation, "layers") and getattr(operation, "outputs", None):
        inner = _before(operation.outputs[which], through)
        if inner is not None:
            made = keras.Model(operation.inputs, inner, name=f"{operation.name}_features")
            return made(sources[0] if len(sources) == 1 else sources)
    return _before(sources[0], through) if through and sources else None
