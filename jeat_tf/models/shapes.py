"""What a net takes and gives."""

from typing import Any

import keras

from jeat_tf.core.logits import check_itself


def shapes_of(net: keras.Model) -> tuple[tuple[int, int, int], int]:
    """(H, W, C) and K of a net.

    Raises:
      ValueError: a net that is not built, or that is not images -> logits [B, K].
    """
    check_itself(net)
    if not getattr(net, "built", False):
        raise ValueError("expected a built net, received one without weights; call it on a batch of images first")
    shape, outputs = getattr(net, "input_shape", None), getattr(net, "output_shape", None)
    if shape is None or outputs is None:  # a subclassed net that has been called
        shape, outputs = _called_shapes(net)
    outputs = named_outputs(net) or outputs
    if isinstance(shape, (list, dict)):
        raise ValueError(f"expected a net with one input, images, received {len(shape)}; make one input of them")
    if isinstance(outputs, dict) or not all(side is None or isinstance(side, int) for side in outputs):
        named = ", ".join(map(str, outputs)) if isinstance(outputs, dict) else f"{len(outputs)} outputs"
        raise ValueError(
            f"expected a net with one output, logits [B, K], received {named}; choose one, e.g. "
            f"jt.as_logits(net, output={(next(iter(outputs)) if isinstance(outputs, dict) else 0)!r})"
        )
    if len(outputs) != 2:
        one_place = all(side == 1 for side in outputs[1:-1])
        remedy = "jt.as_logits(net) takes that one place" if one_place else "end it with a pooling or Flatten layer"
        raise ValueError(f"expected a net with output [B, K], received output shape {outputs}; {remedy}")
    if outputs[-1] == 1:
        raise ValueError(
            f"expected a net with output [B, K], K >= 2, received output shape {outputs}: one output for two classes; "
            "jt.as_logits(net) makes two logits of it"
        )
    if len(shape) != 4 or None in shape[1:]:
        remedy = "jt.as_logits(net) gives its images a channel" if len(shape) == 3 else "build it on such a keras.Input"
        raise ValueError(f"expected a net of images [B, H, W, C] of one size, received input shape {shape}; {remedy}")
    return tuple(shape[1:]), outputs[-1]


def _called_shapes(net: keras.Model) -> tuple[Any, Any]:
    shape = (net.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError("expected a net that knows the shape of its images; call it on a batch of images first")
    outputs = net.compute_output_spec(keras.KerasTensor((None, *shape[1:])))
    return shape, keras.tree.map_structure(lambda output: output.shape, outputs)


def named_outputs(net: Any) -> dict[str, Any]:
    """The outputs of a graph by name, where calling it gives a dict; empty for any other net."""
    outputs = getattr(getattr(net, "_functional", None) or net, "_outputs_struct", None)
    return outputs if isinstance(outputs, dict) else {}
