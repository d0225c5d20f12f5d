"""How far is `autoattack-fast` above the full list, and how much faster?

    python benchmarks/fast_form.py --name="PGD-AT, digits" --model=zoo:digits-pgd-at --dataset=digits --epsilon=26/255
    python benchmarks/fast_form.py                       # the table of all that was measured

Both run on one thread, part by part of 100 images, in turn, after eight images that are not counted. Times are the
process' CPU seconds. A part that was measured is in --cells and is not measured again, so the same command resumes.
"""

import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["OMP_NUM_THREADS"] = "1"

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.balls import ball_of
from jeat_tf.core.files import read_json, write_json
from jeat_tf.core.units import number
from jeat_tf.data.labelled import open_labelled
from jeat_tf.models.files import load_net

_NAME = flags.DEFINE_string("name", "", "what the table calls the net; empty: only print the table")
_MODEL = flags.DEFINE_string("model", "", "a .keras file or a run's folder; zoo:NAME is a net that ships")
_MASK = flags.DEFINE_enum(
    "mask",
    "none",
    ["none", "round", "scale"],
    "a masked net: its images rounded to 16 levels, or its logits times 1,000",
)
_DATASET = flags.DEFINE_string("dataset", "digits", "TFDS name, folder or .npz file")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS data folder")
_IMAGES = flags.DEFINE_integer("num_images", 0, "the first so many test images; 0: all")
_NORM = flags.DEFINE_enum("norm", "linf", ["linf", "l2", "l1"], "norm of the ball")
_EPSILON = flags.DEFINE_string("epsilon", "26/255", "radius")
_CELLS = flags.DEFINE_string("cells", "benchmarks/fast_form.json", "file of all parts that were measured")
_VERSIONS = flags.DEFINE_list("versions", ["fast", "standard"], "lists of attacks to run")
_PART = 100


def main(_: list[str]) -> None:
    if _NAME.value:
        _measure()
    _table(_read())


def _measure() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = _MODEL.value
    net = jt.load_pretrained(model[4:]) if model.startswith("zoo:") else load_net(model)
    if _MASK.value != "none":
        net = _masked(net)
    data = open_labelled(_DATASET.value, "test", count=_IMAGES.value, data_dir=_DATA_DIR.value)
    x, labels = data.images[:], data.labels
    ball = ball_of(_NORM.value, number(_EPSILON.value))
    oracle, ball_name = Oracle(inference(net)), f"{_NORM.value} {_EPSILON.value}"
    for version in _VERSIONS.value:
        autoattack(oracle, x[:8], labels[:8], seed=[0, 0], ball=ball, attacks=version)
    for start in range(0, len(x), _PART):
        for version in _VERSIONS.value:
            key = f"{_NAME.value} | {ball_name} | {start} | {version}"
            if key in _read():
                continue
            part = slice(start, start + _PART)
            began = time.process_time()
            found = autoattack(oracle, x[part], labels[part], seed=[0, 0], ball=ball, attacks=version)
            seconds = time.process_time() - began
            cell = {
                "seconds": round(seconds, 2),
                "passes": int(found.forwards.sum() + 2 * found.gradients.sum()),
                "clean": int(np.sum(found.broken_by != "clean")),
                "unbroken": " ".join(map(str, start + np.flatnonzero(~found.broken))),
                "images": len(found.broken),
            }
            write_json(_CELLS.value, _read() | {key: cell})


def _masked(net: keras.Model) -> keras.Model:
    x = inputs = keras.Input(net.input_shape[1:])
    if _MASK.value == "round":
        x = keras.ops.round(15 * x) / 15
    logits = net(x)
    return keras.Model(inputs, 1000 * logits if _MASK.value == "scale" else logits)


def _read() -> dict[str, Any]:
    return read_json(_CELLS.value, dict) if os.path.exists(_CELLS.value) else {}


def _table(cells: dict[str, Any]) -> None:
    columns = (
        "net",
        "ball",
        "images",
        "clean %",
        "full list %",
        "fast %",
        "differ",
        "CPU-s, full",
        "fast",
        "times",
        "passes",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    rows: dict[tuple[str, str], list[tuple[dict, dict]]] = {}
    for key, fast in cells.items():
        name, ball, start, version = key.split(" | ")
        full = cells.get(f"{name} | {ball} | {start} | standard")
        if version == "fast" and full:
            rows.setdefault((name, ball), []).append((fast, full))
    for (name, ball), parts in rows.items():
        images = sum(fast["images"] for fast, _ in parts)
        clean = sum(fast["clean"] for fast, _ in parts)
        images_of = [[set(part[i]["unbroken"].split()) for part in parts] for i in (1, 0)]
        unbroken = [sum(map(len, of_parts)) for of_parts in images_of]
        differ = sum(len(full ^ fast) for full, fast in zip(*images_of, strict=True))
        seconds = [sum(part[i]["seconds"] for part in parts) for i in (1, 0)]
        passes = [sum(part[i]["passes"] for part in parts) for i in (1, 0)]
        shares = [f"{100 * count / images:.1f}" for count in (clean, *unbroken)]
        times = [f"{value:.0f}" for value in seconds] + [f"{pair[0] / pair[1]:.1f}" for pair in (seconds, passes)]
        print(f"| {' | '.join([name, ball, str(images), *shares, str(differ), *times])} |")


if __name__ == "__main__":
    app.run(main)
