"""Nets that Keras 2 wrote, as Keras 3 nets with the same logits."""

import inspect
import json
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

_TOLERANCE = 1e-4  # of the largest logit, or absolute where that is below 1


def written_by(path: str) -> str:
    """The version of Keras that wrote a .keras or .h5 file, such as "2.15.0"; empty where the file does not say."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                found = file.attrs.get("keras_version", "")
                return found.decode() if isinstance(found, bytes) else str(found)
    except (OSError, KeyError, ValueError):
        pass
    return ""


def holds_weights_alone(path: str) -> bool:
    """Whether an HDF5 file has weights and no net that they belong to."""
    # HDF5 may begin at byte 512, 1024, ...: the weights inside an archive do by chance.
    if zipfile.is_zipfile(path) or not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return "model_config" not in file.attrs


def from_keras2(path: str) -> keras.Model:
    """The net in a file that Keras 2 wrote, layer by layer in Keras 3. Reading needs the package tf_keras.

    Functional and Sequential nets, also nested ones, of layers that Keras 3 has. The logits of both are compared on
    random images.

    Raises:
      ValueError: tf_keras is missing, a layer that Keras 3 does not have, or other logits.
    """
    try:
        import tf_keras
    except ImportError:
        raise ValueError(f"{path} was written by Keras 2; install the package tf_keras to read it") from None
    source = tf_keras.models.load_model(path, compile=False, **({"safe_mode": True} if path.endswith(".keras") else {}))
    net = _Rebuilt().model(source)
    shape = [4, *(size or 32 for size in source.input_shape[1:])]
    images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    expected, found = source(images, training=False), net(images, training=False)
    if isinstance(expected, (list, tuple, dict)):
        return net  # a net of several outputs is the caller's to choose from or to refuse
    expected, found = np.asarray(expected), np.asarray(found)
    error = np.abs(expected - found).max()
    if not error <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ValueError(
            f"the net in {path}, written by Keras 2, gives other logits in Keras 3 (they differ by {error:.3g}); "
            "load and save it with Keras 3 yourself"
        )
    return net


class _Rebuilt:
    """Keras 3 layers for those of one Keras 2 net; a layer that is used twice is one layer."""

    def __init__(self) -> None:
        self._layers: dict[int, Any] = {}

    def model(self, source: Any) -> keras.Model:
        import tf_keras

        if isinstance(source, tf_keras.Sequential):
            inputs = x = keras.Input(source.input_shape[1:])
            for layer in source.layers:
                x = self._layer(layer)(x)
            return keras.Model(inputs, x, name=source.name)
        if not hasattr(source, "_nodes_by_depth"):
            raise ValueError(f"expected a functional or Sequential net, received {type(source).__name__} of Keras 2")
        tensors = {id(tensor): keras.Input(tensor.shape[1:], dtype=tensor.dtype.name) for tensor in source.inputs}
        inputs = [tensors[id(tensor)] for tensor in source.inputs]

        def known(value: Any) -> Any:
            return tensors.get(id(value), value)

        for depth in sorted(source._nodes_by_depth, reverse=True):
            for node in source._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                args, kwargs = tf.nest.map_structure(known, (tuple(node.call_args), dict(node.call_kwargs)))
                outputs = self._layer(node.layer)(*args, **kwargs)
                flat = keras.tree.flatten(outputs)
                for tensor, result in zip(keras.tree.flatten(node.outputs), flat, strict=True):
                    tensors[id(tensor)] = result
        outputs = [tensors[id(tensor)] for tensor in source.outputs]
        return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs)

    def _layer(self, source: Any) -> Any:
        if id(source) not in self._layers:
            self._layers[id(source)] = self._made(source)
        return self._layers[id(source)]

    def _made(self, source: Any) -> Any:
        if hasattr(source, "layers") and hasattr(source, "input_shape") and not hasattr(source, "layer"):
            return self.model(source)
        kind = type(source).__name__
        made = getattr(keras.layers, kind, None)
        if made is None or kind == "Lambda":
            raise ValueError(
                f"the layer {source.name} ({kind}) of a net that Keras 2 wrote has no counterpart in Keras 3; "
                "rebuild the net in Keras 3 and copy its weights"
            )
        accepted = set(inspect.signature(made.__init__).parameters) | {"name", "trainable"}
        config = {key: setting for key, setting in source.get_config().items() if key in accepted}
        if isinstance(config.get("axis"), (list, tuple)) and len(config["axis"]) == 1:
            config["axis"] = config["axis"][0]
        layer = made.from_config(config)
        weights = source.get_weights()
        if weights:
            layer.build((source.get_build_config() or {"input_shape": source.input_shape})["input_shape"])
            layer.set_weights(weights)
        return layer
