"""`python -m jeat_tf.export`: each format is written, read back and compared before it takes its place."""

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from jeat_tf.config.export import ExportConfig
from jeat_tf.config.flags import as_flags
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.energy import energy_model
from jeat_tf.core.files import sha256, writable_folder, write_text
from jeat_tf.core.records import write_record
from jeat_tf.export.signatures import Signatures
from jeat_tf.models.files import load_net, net_file, weights_sha256
from jeat_tf.models.precision import in_float32
from jeat_tf.runs.card import FILE, LICENCE, ModelCard, measured_of, summary_of
from jeat_tf.runs.locks import held
from jeat_tf.runs.trained import output_folder, run_config
from jeat_tf.runs.training import read_training

_IMAGES = 4  # random ones, that the exports are compared on
_TOLERANCE = 1e-4  # of logits, to the largest of them where that is above 1
_NO_GRADIENT = "the format has no gradients, which a chain needs"


class Exported(NamedTuple):
    """One format.

    Attributes:
      format: its name.
      path: file or folder.
      holds: its outputs, such as logits and energy.
      left_out: outputs that the format cannot have, and why.
      difference: largest difference of its logits from the net's, on random images.
    """

    format: str
    path: str
    holds: tuple[str, ...]
    left_out: Mapping[str, str]
    difference: float


def export(config: ExportConfig) -> list[Exported]:
    """Writes the requested formats.

    Raises:
      ValueError: no readable net, something at the place of an export, a package that is not installed, or an export
        that does not give the net's logits; nothing of that format is written then.
    """
    net, run = load_net(config.model), run_config(config.model)
    if None in net.input_shape[1:]:
        raise ValueError(f"expected a net of one image size, received one for {list(net.input_shape[1:])}")
    folder = writable_folder(output_folder(config.model, config.output_dir, "export"), "output_dir")
    with held(folder, "export"):
        writers: dict[str, Callable[[], Exported]] = {
            "saved_model": lambda: _saved_model(net, run, folder),
            "tflite": lambda: _tflite(net, folder),
            "onnx": lambda: _onnx(net, folder),
            "card": lambda: _card(net, run, config, folder),
        }
        return [writers[name]() for name in config.chosen]


def _saved_model(net: keras.Model, run: TrainConfig | None, folder: str) -> Exported:
    signatures = Signatures(net, () if run is None else run.method.drawing().stages)
    place = os.path.join(folder, "saved_model")
    with _new(place) as path:
        tf.saved_model.save(signatures, path, signatures=signatures.functions)
        classify = tf.saved_model.load(path).signatures["classify"]
        difference = _compared(net, lambda x: classify(images=x)["logits"], "the SavedModel")
    left_out = {} if signatures.chain else {"sample": "a flow is drawn exactly, by `jeat_tf sample`"}
    return Exported("saved_model", place, tuple(signatures.functions), left_out, difference)


def _tflite(net: keras.Model, folder: str) -> Exported:
    place = os.path.join(folder, "net.tflite")
    with _new(place) as path:
        _logits_and_energy(net).export(path, format="litert", verbose=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another interpreter, which TensorFlow does not bring along
            runner = tf.lite.Interpreter(model_path=path).get_signature_runner()
        (name,) = runner.get_input_details()
        difference = _compared(net, lambda x: runner(**{name: x})["logits"], "the TensorFlow Lite file")
    return Exported("tflite", place, ("logits", "energy"), {"sample": _NO_GRADIENT}, difference)


def _onnx(net: keras.Model, folder: str) -> Exported:
    for package in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"expected the package {package} for --formats=onnx; pip install 'jeat_tf[onnx]'")
    import onnxruntime

    place = os.path.join(folder, "net.onnx")
    with _new(place) as path:
        _logits_and_energy(net).export(path, format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(path)
        name = session.get_inputs()[0].name
        difference = _compared(net, lambda x: session.run(["logits"], {name: x})[0], "the ONNX file")
    return Exported("onnx", place, ("logits", "energy"), {"sample": _NO_GRADIENT}, difference)


def _card(net: keras.Model, run: TrainConfig | None, config: ExportConfig, folder: str) -> Exported:
    training = read_training(config.model) if os.path.isdir(config.model) else None
    if run is None or training is None:
        raise ValueError(
            f"expected the folder of a finished training run in --model={config.model} for --formats=card, which says "
            "how the net was made; train it to its end, or leave card out"
        )
    measured, command = measured_of(config.model, training.weights_sha256)
    place = os.path.join(folder, "card")
    with _new(place) as path:
        os.mkdir(path)
        file = os.path.join(path, "net.keras")
        single = in_float32(net)  # what was measured, and what computes everywhere
        if single is net:
            shutil.copyfile(net_file(config.model), file)
        else:
            single.save(file)
        difference = _compared(single, lambda x: load_net(file)(x, training=False), "the copy of net.keras")
        card = ModelCard(
            name=config.name or f"{training.dataset}-{run.method.word}".replace("/", "-").replace("_", "-"),
            summary=summary_of(run, training),
            method=run.method.word,
            dataset=training.dataset,
            data_sha256=training.data_sha256,
            class_names=training.class_names,
            image_shape=net.input_shape[1:],
            parameters=net.count_params(),
            file_sha256=sha256(file),
            weights_sha256=weights_sha256(net),
            command=training.provenance.command,
            settings=tuple(line for _, lines in as_flags(run) for line in lines),
            measured=measured,
            measured_by=command,
            licence=LICENCE,
            date=training.date,
        )
        write_record(os.path.join(path, FILE), card)
        write_text(os.path.join(path, "config.json"), to_json(run))
        write_text(os.path.join(path, "README.md"), card.markdown())
    return Exported("card", place, ("net.keras", "config.json", FILE, "README.md"), {}, difference)


def _logits_and_energy(net: keras.Model) -> keras.Model:
    outputs = energy_model(net).output
    model = keras.Model(net.inputs[0], {name: outputs[name] for name in ("logits", "energy")}, name=net.name)
    model(np.zeros([1, *net.input_shape[1:]], np.float32))  # Keras exports to ONNX what has been called
    return model


def _compared(net: keras.Model, exported: Callable[[np.ndarray], Any], what: str) -> float:
    images = np.random.default_rng(0).random((_IMAGES, *net.input_shape[1:]), np.float32)
    wanted = keras.ops.convert_to_numpy(net(images, training=False))
    difference = float(np.max(np.abs(np.asarray(exported(images)) - wanted)))
    allowed = _TOLERANCE * max(1.0, float(np.max(np.abs(wanted))))
    if not difference <= allowed:
        raise ValueError(
            f"expected {what} to give the net's logits to {allowed:.1e}, received a difference of {difference:.2g}; it "
            "was not kept"
        )
    return difference


@contextmanager
def _new(place: str) -> Iterator[str]:
    """A place beside `place` with the same ending, which takes its place once the block is done."""
    if os.path.lexists(place):
        raise ValueError(f"{place} exists already; remove it, or give another --output_dir")
    stem, ending = os.path.splitext(place)
    temporary = f"{stem}.partial{ending}"
    _remove(temporary)
    try:
        yield temporary
        os.replace(temporary, place)
    finally:
        _remove(temporary)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)
