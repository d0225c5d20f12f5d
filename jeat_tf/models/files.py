"""Nets on disk: they load, or say why not."""

import hashlib
import os
import re
import zipfile

import h5py
import keras
import numpy as np

import jeat_tf.core.energy  # noqa: F401  registers the energy layers
import jeat_tf.models.glow  # noqa: F401  registers the layers of flows
import jeat_tf.models.residual_flow  # noqa: F401
from jeat_tf.core.archives import check_unpacked
from jeat_tf.models import keras2
from jeat_tf.models.missing import MissingSetting
from jeat_tf.models.saved import from_saved_model

SUFFIXES = (".keras", ".h5", ".hdf5")


def load_net(path: str, *, trust: bool = False) -> keras.Model:
    """`read_net`, of a net of images -> logits [B, K] that needs no change.

    Raises:
      ValueError: as `read_net`, or a net that is not images -> logits [B, K].
    """
    net = read_net(path, trust=trust)
    if len(net.inputs) != 1 or len(net.outputs) != 1 or len(net.output_shape) != 2:
        raise ValueError(
            f"expected a net of images -> logits [B, K] in {net_file(path)}, received inputs {net.input_shape} and "
            f"outputs {net.output_shape}"
        )
    return net


def read_net(path: str, *, trust: bool = False) -> keras.Model:
    """The net in a .keras or .h5 file, in the folder of a training run (its net.keras), or in a SavedModel.

    Files of Keras 3 and of Keras 2 are read in safe mode; the file says which it is.

    Args:
      path: where it is.
      trust: also load a SavedModel, or a file with Lambda layers. These are programs: they may read and write files.

    Raises:
      ValueError: nothing there, or not a readable net.
    """
    file = net_file(path)
    if os.path.isdir(file):
        if not trust:
            program = f"{file} is a SavedModel, which is a program: its graph may read and write files. Give "
            raise MissingSetting(program, "trust", "true", " if you know where it is from, or use a .keras file")
        return from_saved_model(file)
    version = ""
    try:
        if not file.lower().endswith(SUFFIXES):
            raise ValueError(
                f"its name does not end in {', '.join(SUFFIXES)}; weights of PyTorch become a net by python -m "
                "jeat_tf.convert"
            )
        if not (zipfile.is_zipfile(file) or h5py.is_hdf5(file)):
            raise ValueError("it is neither a .keras nor an .h5 file, or only a part of one; save the net again")
        check_unpacked(file)
        version = keras2.written_by(file)
        if keras2.holds_weights_alone(file):
            raise ValueError(
                f"it holds weights without a net; build the net in Python, then net.load_weights({file!r}) and "
                "net.save('net.keras')"
            )
        if version.startswith("2."):
            return keras2.from_keras2(file)
        return keras.saving.load_model(file, compile=False, safe_mode=not trust)
    except Exception as error:
        written = version and f", written by Keras {version}"
        before = f"cannot read the net in {file} ({os.path.getsize(file)} bytes{written}): "
        if missing := _missing(str(error)):
            raise missing.told(before) from error
        said = str(error)
        if not said.startswith(("it ", "its ")):
            said += "; expected a file written by net.save(...), whole and without Lambda layers"
        raise ValueError(before + said) from error


def _missing(said: str) -> MissingSetting | None:
    """What Keras asks for in paragraphs, where a setting gives it."""
    if "Lambda" in said and "safe_mode" in said:
        return MissingSetting(
            "it has a Lambda layer, which is a program; give ", "trust", "true", " if you know where it is from"
        )
    if unknown := re.search(r"Could not locate class '(\w+)'", said):
        another = f"it has a layer of another package, {unknown[1]}; give "
        return MissingSetting(another, "imports", "the.module", " that registers it")
    return None


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
    """Digest of the weights, the same for equal nets; that of a .keras file changes with its date."""
    digest = hashlib.sha256()
    for weight in net.weights:
        digest.update(f"{weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()
