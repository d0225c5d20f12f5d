"""The same net in another precision, compared with the original."""

from typing import Any

import keras
import numpy as np

from jeat_tf.core.logits import in_one_line

_HALVES = ("float16", "bfloat16")
_LOOKED_AT = 8  # random images that a copy is compared on
_ROUGH = 0.15  # of the largest logit: what rounding to 8 bits may add up to over many layers


def in_bfloat16(net: keras.Model) -> keras.Model:
    """A copy of a functional or Sequential net that computes in bfloat16, with the same float32 weights.

    Worth it for gradients where the processor or GPU computes in bfloat16. The net itself should decide success
    (`Oracle(net, coarse_fn=in_bfloat16(net))`).

    Raises:
      ValueError: the net cannot be copied layer by layer, or the copy's logits are not the net's.
    """
    return _copy(net, "mixed_bfloat16", "bfloat16")


def in_float32(net: keras.Model, changes: list[str] | None = None) -> keras.Model:
    """The net itself, or where it computes in half precision a copy that computes in float32.

    Attacks need the copy: in float16 small gradients become exactly 0.

    Args:
      net: functional or Sequential.
      changes: gets a sentence about what was done.

    Raises:
      ValueError: the net cannot be copied layer by layer, or the copy's logits are not the net's.
    """
    halves = sorted({layer.compute_dtype for layer in net._flatten_layers() if layer.compute_dtype in _HALVES})
    if not halves:
        return net
    copy = _copy(net, "float32", "float32")
    if changes is not None:
        changes.append(f"a copy of it computes in float32 instead of {' and '.join(halves)}")
    return copy


def same_outputs(
    before: Any,
    after: Any,
    tolerance: float,
    what: str,
    hint: str = "a layer keeps something beside its weights that is not copied",
) -> None:
    """Raises ValueError unless two arrays float[B, K] agree to `tolerance` times the largest number of the first."""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    size = max(float(np.abs(before).max(initial=0.0)), 1e-30)
    error = float(np.abs(before - after).max(initial=0.0)) if before.shape == after.shape else np.inf
    if not error <= tolerance * size:
        raise ValueError(
            f"expected {what} to give the net's outputs, received ones that differ by {error:.3g} where the largest is "
            f"{size:.3g}; {hint}"
        )


def _copy(net: keras.Model, policy: str, name: str) -> keras.Model:
    if any(_saved(layer) for layer in net._flatten_layers()):
        raise ValueError(
            f"expected a net of Keras layers that can be copied to {name}, received a SavedModel, which cannot be; "
            "copy the net that it was made of"
        )
    try:
        copy = _cloned(net, policy)
        _take_weights(net, copy)
    except Exception as error:
        said = in_one_line(error)
        raise ValueError(f"expected a net of Keras layers that can be copied to {name}, received {said}") from error
    x = random_images(net)
    outputs = (keras.tree.flatten(one(x, training=False)) for one in (net, copy))
    for before, after in zip(*outputs, strict=True):
        same_outputs(before, after, _ROUGH, f"a copy in {name}")
    return copy


def _cloned(net: keras.Model, policy: str) -> keras.Model:
    def convert(layer: Any) -> Any:
        if not isinstance(layer, keras.Layer):
            return layer  # an operation such as + has no weights and no precision of its own
        if isinstance(layer, keras.Model):
            return _cloned(layer, policy)
        config: dict[str, Any] = layer.get_config()
        if isinstance(layer, keras.layers.Wrapper):
            inner = keras.saving.serialize_keras_object(convert(layer.layer))
            return type(layer).from_config({**config, "layer": inner})
        return type(layer).from_config({**config, "dtype": policy})

    return keras.models.clone_model(net, clone_function=convert)


def _take_weights(net: keras.Model, copy: keras.Model) -> None:
    copy.set_weights(net.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # its mean and variance are read from the weights here and nowhere else


def _saved(layer: Any) -> bool:
    return isinstance(layer, keras.layers.TFSMLayer)


def random_images(net: keras.Model, count: int = _LOOKED_AT) -> np.ndarray:
    """float32[count, H, W, C] in [0, 1] that a net takes; in 0..255 for a net of integers."""
    shape = [side or 32 for side in net.input_shape[1:]]
    x = np.random.default_rng(0).random((count, *shape), np.float32)
    return x if keras.backend.standardize_dtype(net.inputs[0].dtype).startswith("float") else (255 * x).round()
