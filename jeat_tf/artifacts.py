"""Files that are either whole or absent, and nets that load or say why not."""

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PARTIAL = ".partial-"


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A temporary path beside `path`, with its suffixes, that becomes `path` when the block ends well."""
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    stem, dot, suffix = name.partition(".")
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{_PARTIAL}{stem}-", suffix=dot + suffix)
    os.close(handle)
    try:
        yield temporary
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def remove_partial(folder: str) -> None:
    """Removes what processes that were killed in the middle of `whole_file` left in a folder that nobody writes to."""
    for path in pathlib.Path(folder).rglob(f"{_PARTIAL}*"):
        path.unlink()


def write_text(path: str, text: str) -> None:
    """Writes a text file as a whole."""
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8") as f:
        f.write(text)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file as a whole."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_arrays(path: str, **arrays: np.ndarray) -> None:
    """Writes an .npz file as a whole; read it back with `read_arrays`."""
    with whole_file(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, is no such file, or holds objects other than arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise
    except Exception as error:  # of the file, the archive, the compression or the array's header
        raise ValueError(f"cannot read {path}: {error}; expected an .npz file of arrays, whole") from error


def write_image(path: str, image: np.ndarray) -> None:
    """Writes a PNG, uint8[H, W] or uint8[H, W, 3], as a whole."""
    with whole_file(path) as temporary:
        keras.utils.array_to_img(image[..., None] if image.ndim == 2 else image, scale=False).save(temporary)


def write_animation(path: str, frames: Sequence[np.ndarray], *, seconds: float) -> None:
    """Writes a GIF of uint8[H, W, C] frames, each shown for so long and the last for ten times that, as a whole."""
    pictures = [keras.utils.array_to_img(frame, scale=False) for frame in frames]
    durations = [int(1000 * seconds)] * (len(frames) - 1) + [int(10_000 * seconds)]
    with whole_file(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def writable_folder(path: str, flag: str) -> str:
    """Creates the folder if need be and returns its path.

    Raises:
      ValueError: no path given, or nothing can be written there.
    """
    if not path:
        raise ValueError(f"expected a folder, received nothing; set --{flag}")
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ValueError(f"cannot write in --{flag}={path}: {error.strerror or error}") from error
    return path


def cache_file(name: str) -> str:
    """Where something that can be made or fetched again is kept between runs: in Keras' home (KERAS_HOME, ~/.keras)."""
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(home, "jeat_tf", name)


def load_net(path: str) -> keras.Model:
    """The net in a .keras file, in the folder of a training run (its net.keras), or in a SavedModel; safe mode on.

    Raises:
      ValueError: nothing there, not a readable net, or a net that is not images -> logits [B, K].
    """
    import jeat_tf.energy  # noqa: F401  registers the energy layers

    file = net_file(path)
    if os.path.isdir(file):
        return _saved_model(file)
    try:
        net = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"cannot read the net in {file} ({os.path.getsize(file)} bytes): {error}; "
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


def sha256(path: str) -> str:
    """Digest of a file, or of all files in a folder with their names, in hexadecimal."""
    if os.path.isdir(path):
        files = sorted(os.path.join(root, name) for root, _, names in os.walk(path) for name in names)
        listing = "".join(f"{os.path.relpath(file, path)} {sha256(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def weights_sha256(net: keras.Model) -> str:
    """Digest of the weights, the same for equal nets (a .keras file holds its date and is not)."""
    digest = hashlib.sha256()
    for weight in net.weights:
        digest.update(f"{weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    return digest.hexdigest()


def changes(was: dict[str, Any], now: dict[str, Any]) -> str:
    """ "key: old -> new" for all that is different, or nothing."""
    changed = [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]
    return ", ".join(f"{name}: {was.get(name)!r} -> {now.get(name)!r}" for name in changed)


def provenance() -> dict[str, Any]:
    """Command, versions and hardware, to stand beside every measured number."""
    import jeat_tf

    return {
        "command": shlex.join([os.path.basename(sys.executable), *sys.orig_argv[1:]]),
        "jeat_tf": jeat_tf.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
    }
