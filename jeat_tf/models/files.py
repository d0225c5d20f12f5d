"""Nets on disk: they load, or say why not."""

import hashlib
import os

import keras
import numpy as np
import tensorflow as tf

import jeat_tf.core.energy  # noqa: F401  registers the energy layers
from jeat_tf.core.archives import check_unpacked
from jeat_tf.models import keras2


def load_net(path: str, *, trust: bool = False) -> keras.Model:
    """The net in a .keras or .h5 file, in the folder of a training run (its net.keras), or in a SavedModel.

    Files of Keras 3 and of Keras 2 are read in safe mode; the file says which it is.

    Args:
      path: where it is.
      trust: also load a SavedModel. It is a program: its graph may read and write files.

    Raises:
      ValueError: nothing there, not a readable net, or a net that is not images -> logits [B, K].
    """
    file = net_file(path)
    if os.path.isdir(file):
        if not trust:
            raise ValueError(
                f"{file} is a SavedModel, which is a program: its graph may read and write files. Give --trust to "
                "`python -m jeat_tf.evaluate` if you know where it is from, or use a .keras file"
            )
        return _saved_model(file)
    version = ""
    try:
        check_unpacked(file)
        version = keras2.written_by(file)
        if keras2.holds_weights_alone(file):
            raise ValueError(
                f"it holds weights without a net; build the net in Python, then net.load_weights({file!r}) and "
                "net.save('net.keras')"
            )
        if version.startswith("2."):
            net = keras2.from_keras2(file)
        else:
            net = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"cannot read the net in {file} ({os.path.getsize(file)} bytes"
            f"{version and f', written by Keras {version}'}): {error}; "
            "expected a file written by net.save(...), whole and without Lambda layers"
        ) from error
    if len(net.inputs) != 1 or len(net.outputs) != 1 or len(net.output_shape) != 2:
        raise ValueError(
            f"expected a net of images -> logits [B, K] in {file}, received inputs {net.input_shape} and outputs "
            f"{net.output_shape}"
        )
    return net


def _saved_model(folder: str) -> keras.Model:
    """A SavedModel's serving function as a Keras model."""
    try:
        signature = tf.saved_model.load(folder).signatures["serving_default"]
        (images,), (logits,) = signature.structured_input_signature[1].values(), signature.structured_outputs.items()
        inputs = keras.Input(images.shape[1:], name="images")
        outputs = keras.layers.TFSMLayer(folder, call_endpoint="serving_default")(inputs)
    except Exception as error:
        raise ValueError(
            f"cannot use the SavedModel in {folder}: {error}; expected one with a signature serving_default of images "
            "-> logits, as net.export(...) writes it"
        ) from error
    return keras.Model(inputs, outputs[logits[0]] if isinstance(outputs, dict) else outputs)


def net_file(path: str) -> str:
    """The .keras file, or the folder of a SavedModel, that --model means.

    Raises:
      ValueError: no path given, or nothing there.
    """
    if not path:
        raise ValueError("expected a net, received nothing; set --model to a run's folder or a .keras file")
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return path
    file = os.path.join(path, "net.keras") if os.path.isdir(path) else path
    if not os.path.isfile(file):
        raise ValueError(
            f"no net at {file}; expected the folder of a finished training run, a .keras file or a SavedModel"
        )
    return file


def weights_sha256(net: keras.Model) -> str:
    """Digest of the weights, the same for equal nets (a .keras file holds its date and is not)."""
    digest = hashlib.sha256()
    for weight in net.weights:
        digest.update(f"{weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()
