"""SavedModels as Keras nets."""

from typing import Any

import keras
import tensorflow as tf

_SIGNATURE = "serving_default"


def from_saved_model(folder: str) -> keras.Model:
    """A SavedModel's serving function as a Keras net of float images.

    Where the signature fixes the batch size, other batches are cut to that size and the last one is filled up.

    Raises:
      ValueError: no such signature, or one that does not take one tensor of float images [B, H, W, C].
    """
    try:
        signatures = tf.saved_model.load(folder).signatures
    except Exception as error:
        raise ValueError(
            f"cannot read the SavedModel in {folder}: {error}; export it again by net.export(...)"
        ) from error
    if _SIGNATURE not in signatures:
        raise ValueError(
            f"expected a SavedModel with a signature {_SIGNATURE} in {folder}, received "
            f"{', '.join(signatures) or 'none'}; export it by net.export(...)"
        )
    given = signatures[_SIGNATURE].structured_input_signature[1]
    if len(given) != 1:
        raise ValueError(
            f"expected a SavedModel of one input, images, in {folder}, received {', '.join(given)}; export one "
            "function of images"
        )
    (spec,) = given.values()
    if not spec.dtype.is_floating:
        raise ValueError(
            f"expected a SavedModel of float images in {folder}, received a signature of {spec.dtype.name}, through "
            "which no gradient goes; export the net without its cast: net.export(...) of a net of float32 images"
        )
    if spec.shape.rank != 4:
        raise ValueError(
            f"expected a SavedModel of images [B, H, W, C] in {folder}, received a signature of shape {spec.shape}; "
            "export one for images of a known shape"
        )
    images = keras.Input(spec.shape[1:], name="images")
    return keras.Model(images, _Served(folder, spec.dtype, spec.shape[0])(images))


class _Served(keras.layers.TFSMLayer):
    """A serving function, for any number of float32 images."""

    def __init__(self, folder: str, images: tf.DType, batch_size: int | None):
        super().__init__(folder, call_endpoint=_SIGNATURE)
        self._images, self._batch_size = images, batch_size

    def call(self, inputs: tf.Tensor, training: bool = False) -> Any:
        x, size = tf.cast(inputs, self._images), self._batch_size
        if size is None:
            return self._serve(x)
        count = tf.shape(x)[0]
        parts = -(-count // size)
        # Copies of the last image fill the last batch: a blank image might upset the net.
        more = tf.broadcast_to(x[-1:], [parts * size - count, *x.shape[1:]])
        x = tf.reshape(tf.concat([x, more], axis=0), [parts, size, *x.shape[1:]])
        spec = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype), self._serve(tf.zeros_like(x[0])))
        found = tf.map_fn(self._serve, x, fn_output_signature=spec)
        return tf.nest.map_structure(lambda t: tf.reshape(t, [-1, *t.shape[2:]])[:count], found)

    def _serve(self, x: tf.Tensor) -> Any:
        found = super().call(x)
        found = tf.nest.map_structure(lambda t: tf.cast(t, tf.float32), found)
        return next(iter(found.values())) if isinstance(found, dict) and len(found) == 1 else found
