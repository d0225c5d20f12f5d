"""What a net takes and gives."""

from typing import Any

import keras


def shapes_of(net: keras.Model) -> tuple[tuple[int, int, int], int]:
    """(H, W, C) and K of a net.

    Raises:
      ValueError: a net that is not built, or that is not images -> logits [B, K].
    """
    if not getattr(net, "built", False):
        raise ValueError("expected a built net, received one without weights; call it on a batch of images first")
    shape, outputs = getattr(net, "input_shape", None), getattr(net, "output_shape", None)
    if shape is None or outputs is None:  # a subclassed net that has been called
        shape, outputs = _called_shapes(net)
    if isinstance(outputs, dict) or not all(side is None or isinstance(side, int) for side in outputs):
        named = ", ".join(map(str, outputs)) if isinstance(outputs, dict) else f"{len(outputs)} outputs"
        raise ValueError(
            f"expected a net with one output, logits [B, K], received {named}; choose one, e.g. "
            f"jt.as_logits(net, output={(next(iter(outputs)) if isinstance(outputs, dict) else 0)!r})"
        )
    if len(outputs) != 2:
        raise ValueError(f"expected a net with output [B, K], received output shape {outputs}")
    if outputs[-1] == 1:
        raise ValueError(
            f"expected a net with output [B, K], K >= 2, received output shape {outputs}: one output for two classes; "
            "jt.as_logits(net) makes two logits of it"
        )
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(f"expected a net of images [B, H, W, C] of one size, received input shape {shape}")
    return tuple(shape[1:]), outputs[-1]


def _called_shapes(net: keras.Model) -> tuple[Any, Any]:
    shape = (net.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise ValueError("expected a net that knows the shape of its images; call it on a batch of images first")
    return shape, net.compute_output_spec(keras.KerasTensor((None, *shape[1:]))).shape
