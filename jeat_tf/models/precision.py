"""The same net in another precision."""

from typing import Any

import keras


def in_bfloat16(net: keras.Model) -> keras.Model:
    """A copy of a functional or Sequential net that computes in bfloat16, with the same float32 weights.

    Worth it for gradients where the processor or GPU computes in bfloat16; success is to be decided by the net itself
    (`Oracle(net, coarse_fn=in_bfloat16(net))`).

    Raises:
      ValueError: the net cannot be copied layer by layer.
    """

    def convert(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.Model):
            return in_bfloat16(layer)
        config: dict[str, Any] = layer.get_config()
        if isinstance(layer, keras.layers.Wrapper):
            inner = keras.saving.serialize_keras_object(convert(layer.layer))
            return type(layer).from_config({**config, "layer": inner})
        return type(layer).from_config({**config, "dtype": "mixed_bfloat16"})

    try:
        copy = keras.models.clone_model(net, clone_function=convert)
    except Exception as error:
        raise ValueError(f"expected a net of Keras layers that can be copied to bfloat16: {error}") from error
    copy.set_weights(net.get_weights())
    return copy
