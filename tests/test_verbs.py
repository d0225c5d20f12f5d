"""prepare, and the command line that all verbs share."""

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from jeat_tf.config.cli import print_settings
from jeat_tf.config.flags import parsed
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.prepare.run import prepare

ROOT = pathlib.Path(__file__).parents[1]


def test_prepare_counts_every_image(tmp_path, digits):
    summary = prepare(replace(PrepareConfig(), output=str(tmp_path / "digits.json")))
    assert json.loads((tmp_path / "digits.json").read_text()) == summary
    assert summary["splits"]["train"]["images"] == 1400
    assert sum(summary["splits"]["test"]["images_of_class"].values()) == 397
    pixels = digits.arrays("train")[0] / 255
    assert summary["splits"]["train"]["pixel_mean"] == pytest.approx(pixels.mean(), rel=1e-5)
    assert summary["splits"]["train"]["pixel_std"] == pytest.approx(pixels.std(), rel=1e-5)


def test_prepare_names_what_is_wrong_with_the_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 1), np.uint8)
    images[1], images[2] = images[0], 7
    labels = np.array([0] * 28 + [1] * 2)
    splits = {"train": (images, labels), "test": (images[:2], labels[:2])}
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="odd",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
        ),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices({"image": x, "label": y}) for name, (x, y) in splits.items()
        },
        data_dir=str(tmp_path),
    )
    statistics = str(tmp_path / "classes.npz")
    config = replace(PrepareConfig(), dataset=str(builder.data_path), statistics=statistics)
    assert set(prepare(config)["anomalies"]) == {
        "1 images of train are there more than once",
        "1 images of train have one value in all pixels",
        "a class of train has ten times as many images as another, or more",
        "1 images of test are there more than once",
        "no images of 1 in test",
        "1 images are in both train and test",
    }
    with np.load(statistics, allow_pickle=False) as arrays:
        assert arrays["means"].shape == (2, 16)


def call(verb, *arguments):
    command = [sys.executable, "-m", f"jeat_tf.{verb}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_refusal_on_the_command_line_is_one_line_and_a_status():
    done = call("train", "--epsilon=8", "--model_dir=/tmp/never")
    assert done.returncode == 1
    assert "epsilon" in done.stderr
    assert "write 8/255" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_verb_says_what_it_does_and_nothing_of_tensorflow(tmp_path):
    """Without a terminal: a line an epoch, and no start-up messages or bars."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["TFDS_DATA_DIR"] = str(tmp_path / "data")
    settings = ["--method=standard", "--dataset=digits", "--epochs=2", "--train_images=128"]
    command = [sys.executable, "-m", "jeat_tf.train", *settings, "--robust_every=0", f"--model_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 4, lines
    assert re.fullmatch(r"epoch 1/2: 2 steps, \d+ s; accuracy [\d.]+, loss [\d.]+, val_accuracy .*", lines[0]), lines
    assert lines[2].startswith("standard: 4 steps, ")
    assert lines[3] == f"net in {tmp_path / 'run' / 'net.keras'}"


def test_help_lists_the_settings():
    shown = call("train", "--help").stdout
    assert "--chain_steps" in shown
    assert "gradient steps of a chain" in shown
    assert "--preset=NAME" in shown


@pytest.mark.parametrize("arguments", [["train", "--help"], ["list", "presets"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_ends_a_listing_quietly(arguments):
    command = [sys.executable, "-m", "jeat_tf", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        process.stdout.close()  # as head does
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset=digits/jeat"],
        ["--preset=cifar10/sada_jem"],
        ["--method=dat"],
        ["--method=noise", "--noise_std=0.123456789"],
        ["--update=awp", "--chain=split_sgld"],
    ],
    ids=" ".join,
)
def test_a_dry_run_prints_settings_that_are_a_flagfile(arguments, tmp_path, capsys):
    direct = parsed(TrainConfig, *arguments)
    print_settings(direct)
    (tmp_path / "again.flags").write_text(capsys.readouterr().out)
    assert parsed(TrainConfig, f"--flagfile={tmp_path / 'again.flags'}") == direct
