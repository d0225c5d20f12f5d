"""A net for other programs gives the same logits, and a model card says how it was made and what was measured."""

import dataclasses
import importlib.util
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.__main__ import listing
from jeat_tf.config.export import ExportConfig
from jeat_tf.core.energy import energy
from jeat_tf.core.records import write_record
from jeat_tf.export.run import export
from jeat_tf.models.files import load_net
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.runs import zoo
from jeat_tf.runs.card import measured_of, read_card
from jeat_tf.runs.results import ATTACKS
from tests.made import attack_results, row

IMAGES = np.random.default_rng(1).random((5, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def net(run):
    return load_net(run)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    found = export(ExportConfig(model=run, output_dir=str(folder), formats="saved_model,tflite,card"))
    return folder, {each.format: each for each in found}


def test_a_saved_model_classifies_gives_energies_and_samples(net, exported):
    served = tf.saved_model.load(str(exported[0] / "saved_model")).signatures
    logits = net(IMAGES, training=False)
    np.testing.assert_allclose(served["classify"](images=IMAGES)["logits"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(served["energy"](images=IMAGES)["energy"], energy(logits), rtol=1e-5, atol=1e-5)
    labels = tf.range(10)
    drawn = {
        (seed, steps): served["sample"](labels=labels, seed=tf.constant(seed), steps=tf.constant(steps))["images"]
        for seed, steps in ((0, 0), (0, 20), (1, 20))
    }
    again = served["sample"](labels=labels, seed=tf.constant(0), steps=tf.constant(20))["images"]
    np.testing.assert_array_equal(drawn[0, 20], again)
    assert not np.allclose(drawn[0, 20], drawn[1, 20])
    low, high = (np.mean(net(drawn[0, steps]).numpy()[np.arange(10), np.arange(10)]) for steps in (0, 20))
    assert high > low + 1  # the class asked for has become likelier
    assert 0 <= np.min(drawn[0, 20]) <= np.max(drawn[0, 20]) <= 1
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected labels in 0..9"):
        served["sample"](labels=tf.constant([10]), seed=tf.constant(0), steps=tf.constant(1))


def test_tensorflow_lite_has_logits_and_energy_and_says_what_it_leaves_out(net, exported):
    runner = tf.lite.Interpreter(model_path=str(exported[0] / "net.tflite")).get_signature_runner()
    (name,) = runner.get_input_details()
    found = runner(**{name: IMAGES})
    np.testing.assert_allclose(found["logits"], net(IMAGES, training=False), atol=1e-4)
    np.testing.assert_allclose(found["energy"], energy(net(IMAGES, training=False)), atol=1e-4)
    assert "gradients" in exported[1]["tflite"].left_out["sample"]


@pytest.mark.skipif(importlib.util.find_spec("tf2onnx") is None, reason="tf2onnx is not installed")
def test_onnx_has_logits_and_energy(run, net, tmp_path):
    import onnxruntime

    export(ExportConfig(model=run, output_dir=str(tmp_path), formats="onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (logits,) = session.run(["logits"], {session.get_inputs()[0].name: IMAGES})
    np.testing.assert_allclose(logits, net(IMAGES, training=False), atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("tf2onnx") is not None, reason="tf2onnx is installed")
def test_onnx_without_its_package_says_what_to_install(run, tmp_path):
    with pytest.raises(ValueError, match=r"expected the package tf2onnx .*jeat_tf\[onnx\]"):
        export(ExportConfig(model=run, output_dir=str(tmp_path), formats="onnx"))


def test_the_net_beside_a_card_computes_in_float32(run, net, tmp_path):
    shutil.copytree(run, tmp_path / "half")
    in_bfloat16(net).save(tmp_path / "half" / "net.keras")
    export(ExportConfig(model=str(tmp_path / "half"), output_dir=str(tmp_path / "out"), formats="card"))
    found = load_net(str(tmp_path / "out" / "card" / "net.keras"))
    np.testing.assert_allclose(found(IMAGES, training=False), net(IMAGES, training=False), rtol=1e-5, atol=1e-5)


def test_a_card_says_how_the_net_was_made(run, net, exported):
    folder = exported[0] / "card"
    card = read_card(str(folder))
    assert (card.method, card.dataset, card.name) == ("pgd_at", "digits", "digits-pgd-at")
    assert "--method=pgd_at" in card.settings
    assert card.parameters == net.count_params()
    page = (folder / "README.md").read_text()
    assert card.file_sha256 in page
    assert "license: apache-2.0" in page
    loaded = keras.saving.load_model(folder / "net.keras")
    np.testing.assert_array_equal(loaded(IMAGES), net(IMAGES))


def test_what_is_there_is_not_overwritten(run, exported):
    before = (exported[0] / "net.tflite").read_bytes()
    with pytest.raises(ValueError, match=r"net.tflite exists already; remove it, or give another --output_dir"):
        export(ExportConfig(model=run, output_dir=str(exported[0]), formats="tflite"))
    assert (exported[0] / "net.tflite").read_bytes() == before


def test_a_file_that_is_not_the_net_of_a_run_has_a_folder_of_its_own(net, tmp_path):
    net.save(tmp_path / "plain.keras")
    (found,) = export(ExportConfig(model=str(tmp_path / "plain.keras"), formats="tflite"))
    assert found.path == str(tmp_path / "export-plain" / "net.tflite")


def test_settings_of_an_export(run, tmp_path):
    with pytest.raises(ValueError, match=r'unknown format "tflit" in --formats; .*tflite'):
        ExportConfig(formats="tflit")
    with pytest.raises(ValueError, match="received none"):
        ExportConfig(formats=",")
    file = shutil.copy(f"{run}/net.keras", tmp_path)
    with pytest.raises(ValueError, match="expected the folder of a finished training run"):
        export(ExportConfig(model=str(file), formats="card", output_dir=str(tmp_path / "out")))


class TestZoo:
    def test_every_net_loads_and_is_that_of_its_card(self):
        for name, card in zoo.zoo().items():
            net = jt.load_pretrained(name)
            assert net.input_shape[1:] == card.image_shape
            assert card.measured[0].attack == "clean"
            assert card.measured[0].accuracy > 0.9
        assert set(listing("models")) == set(zoo.zoo())
        assert "digits-jeat" in zoo.zoo()

    def test_an_unknown_name_has_its_neighbours(self):
        with pytest.raises(ValueError, match=r'unknown model "digits-jeatt"; .*digits-jeat'):
            jt.load_pretrained("digits-jeatt")

    def test_a_file_of_another_digest_is_not_loaded(self, exported, monkeypatch, tmp_path):
        shutil.copytree(exported[0] / "card", tmp_path / "mine")
        monkeypatch.setattr(zoo, "ZOO", pathlib.Path(tmp_path))
        zoo.zoo.cache_clear()
        try:
            assert jt.load_pretrained("mine").count_params()
            data = bytearray((tmp_path / "mine" / "net.keras").read_bytes())
            data[len(data) // 2] ^= 1
            (tmp_path / "mine" / "net.keras").write_bytes(data)
            with pytest.raises(ValueError, match="with the SHA-256 .* of its card.*was not loaded"):
                jt.load_pretrained("mine")
            card = json.loads((tmp_path / "mine" / "card.json").read_text())
            (tmp_path / "mine" / "card.json").write_text(json.dumps(card | {"schema": 99}))
            zoo.zoo.cache_clear()
            with pytest.raises(ValueError, match="schema 99"):
                jt.load_pretrained("mine")
        finally:
            monkeypatch.undo()
            zoo.zoo.cache_clear()


def test_a_card_has_no_numbers_of_other_weights(tmp_path, capsys):
    rows = row("clean", 45, 0.0), dataclasses.replace(row("pgd20", 25, 8 / 255), norm="l2", epsilon_text="0.5")
    found = dataclasses.replace(attack_results(rows), norm="linf,l2")
    write_record(str(tmp_path / "evaluation" / ATTACKS), found)
    measured, _ = measured_of(str(tmp_path), found.weights_sha256)
    assert [one.epsilon for one in measured] == ["", "l2 0.5"]
    assert measured_of(str(tmp_path), "other")[0] == ()
    assert "is of other weights" in capsys.readouterr().out
