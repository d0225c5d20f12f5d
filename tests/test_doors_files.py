"""Nets from elsewhere, and runs that resume: what is read, and what is said of the rest."""

import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

import jeat_tf as jt
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import KeptWarning
from jeat_tf.core.flat import replace
from jeat_tf.models.files import load_net
from jeat_tf.models.keras2 import written_by
from jeat_tf.runs.trained import output_folder
from jeat_tf.train.run import _legs, train
from tests.conftest import tiny_cnn

tf_keras = pytest.importorskip("tf_keras")
X = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
SHORT = {"method": "standard", "epochs": 1, "batch_size": 16, "robust_every": 0, "images_every": 0, "monitor": ""}


def keras2_nets():
    k = tf_keras.layers
    inner = tf_keras.Sequential([k.Conv2D(4, 3, input_shape=(8, 8, 1)), k.BatchNormalization(), k.ReLU()])
    a = k.Input((8, 8, 1))
    b = k.DepthwiseConv2D(3, padding="same")(k.SeparableConv2D(4, 3, padding="same", activation="relu")(a))
    c = k.Add()([b, k.Conv2D(4, 1)(a)])
    return {
        "sequential": tf_keras.Sequential([k.Conv2D(4, 3, input_shape=(8, 8, 1)), k.Flatten(), k.Dense(10)]),
        "nested": tf_keras.Sequential([inner, k.Flatten(), k.Dropout(0.5), k.Dense(10)]),
        "separable": tf_keras.Model(a, k.Dense(10)(k.GlobalAveragePooling2D()(c))),
        "functional": tf_keras.Model(a, k.Dense(10)(k.Flatten()(inner(a)))),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["sequential", "nested", "separable", "functional"])
def test_files_of_keras_2_give_the_same_logits(name, suffix, tmp_path):
    source = keras2_nets()[name]
    source.build((None, 8, 8, 1))
    path = str(tmp_path / f"net{suffix}")
    source.save(path)
    assert written_by(path).startswith("2.")
    net = load_net(path)
    np.testing.assert_allclose(net(X), source(X), atol=1e-5)
    assert len(net.trainable_weights) == len(source.trainable_weights)


@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_keras_3_does_not_have_is_named(tmp_path):
    a = tf_keras.Input((8, 8, 1))
    path = str(tmp_path / "net.keras")
    tf_keras.Model(a, tf_keras.layers.Dense(10)(tf_keras.layers.Flatten()(2.0 * a))).save(path)
    with pytest.raises(ValueError, match=r"written by Keras 2.*no counterpart in Keras 3"):
        load_net(path)


def test_weights_without_a_net_say_how_to_make_one(tmp_path):
    path = str(tmp_path / "net.weights.h5")
    tiny_cnn().save_weights(path)
    with pytest.raises(
        ValueError,
        match=r"holds weights without a net; build the net .*net.load_weights\(.*\) and net.save\('net.keras'\)$",
    ):
        load_net(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.keras", b"", r"\(0 bytes\): it is neither a .keras nor an .h5 file"),
        ("net.h5", b"no net", "neither a .keras nor an .h5 file, or only a part of one; save"),
        ("net.pt", b"PK", "does not end in .keras, .h5, .hdf5; weights of PyTorch .*jeat_tf.convert$"),
    ],
)
def test_files_of_other_kinds_are_told_in_one_sentence(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        load_net(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_an_archive_whose_weights_begin_where_hdf5_may_is_read(tmp_path):
    net, path = tiny_cnn(), str(tmp_path / "net.keras")
    net.save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in ("metadata.json", "config.json", "model.weights.h5")}
    names = sum(30 + len(name) for name in parts)
    room = 8192 - names - len(parts["metadata.json"]) - len(parts["config.json"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content + b" " * (room if name == "config.json" else 0))
    assert h5py.is_hdf5(path)
    np.testing.assert_array_equal(load_net(path)(X), net(X))


def test_a_second_net_in_a_folder_has_results_of_its_own(tmp_path):
    for name in ("net", "other"):
        (tmp_path / f"{name}.keras").write_text("")
    assert output_folder(str(tmp_path / "net.keras"), "", "evaluation") == str(tmp_path / "evaluation")
    assert output_folder(str(tmp_path / "other.keras"), "", "evaluation") == str(tmp_path / "evaluation-other")


@pytest.mark.parametrize(
    ("step", "max_steps", "legs"),
    [
        (0, 0, [(0, 3, 10)]),
        (4, 0, [(0, 1, 6), (1, 3, 10)]),
        (0, 25, [(0, 2, 10), (2, 3, 5)]),
        (4, 7, [(0, 1, 3)]),
        (0, 7, [(0, 1, 7)]),
        (22, 25, [(2, 3, 3)]),
        (25, 25, []),
        (12, 100, [(1, 2, 8), (2, 3, 10)]),
        (30, 0, []),
    ],
)
def test_a_run_stops_after_max_steps(step, max_steps, legs):
    assert list(_legs(step, 10, 3, max_steps)) == legs


def test_more_epochs_go_on_with_a_finished_run(tmp_path):
    run = str(tmp_path / "run")
    config = replace(TrainConfig(), **SHORT, train_images=64, validation_percent=0, model_dir=run)
    assert train(config).steps == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeptWarning)  # the guard's own files are not missed
        longer = train(replace(config, epochs=3))
    assert longer.steps == 12
    whole = train(replace(config, epochs=3, model_dir=str(tmp_path / "whole")))
    assert longer.weights_sha256 == whole.weights_sha256
    with pytest.raises(ValueError, match="other settings"):
        train(replace(config, epochs=2))


def test_max_steps_and_train_images_shorten_a_run(tmp_path):
    config = replace(TrainConfig(), **SHORT, train_images=64, max_steps=3, model_dir=str(tmp_path / "run"))
    assert train(config).steps == 3
    with pytest.raises(ValueError, match="expected --train_images of at most"):
        train(replace(config, train_images=10**6, model_dir=str(tmp_path / "other")))


def test_fine_tuning_gives_a_net_a_new_head(tmp_path, capsys):
    path = str(tmp_path / "five.keras")
    source = jt.models.small_cnn((8, 8, 1), 5)
    source.save(path)
    config = replace(
        TrainConfig(), **SHORT, max_steps=1, learning_rate=0.0, init_from=path, model_dir=str(tmp_path / "a")
    )
    train(config)
    assert "a new head for 10 classes" in capsys.readouterr().out
    tuned = load_net(str(tmp_path / "a"))
    for one, other in zip(tuned.get_weights()[:-2], source.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(one, other)


def test_fine_tuning_takes_a_foreign_net_itself(tmp_path):
    foreign = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(7)])
    path = str(tmp_path / "foreign.keras")
    foreign.save(path)
    train(replace(TrainConfig(), **SHORT, max_steps=1, init_from=path, model_dir=str(tmp_path / "a")))
    assert load_net(str(tmp_path / "a")).output_shape == (None, 10)
    assert load_net(str(tmp_path / "a")).count_params() == 64 * 10 + 10


def test_a_checkpoint_of_the_whole_classifier_is_refused_before_the_first_step(tmp_path):
    model = jt.EnergyClassifier(tiny_cnn(), jt.methods.Standard())
    model.compile("adam")
    with pytest.raises(NotImplementedError, match="save_weights_only=True"):
        model.fit(X, np.arange(4), callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "a.keras")], verbose=0)
    assert model.steps_taken == 0
