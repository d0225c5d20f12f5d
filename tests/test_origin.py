"""Nets from elsewhere at the verbs: the flags that say where a net is from, and what the records say was changed."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import help_text, parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.core.values import fields
from jeat_tf.draw.run import draw
from jeat_tf.evaluate.command import main as evaluate_main
from jeat_tf.evaluate.density import measure
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.models.origin import Origin
from jeat_tf.models.precision import in_bfloat16
from jeat_tf.runs.results import ATTACKS, AttackResults
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.sample.run import sample
from tests.conftest import linear_net

L = keras.layers
X = np.random.default_rng(0).random((7, 8, 8, 1), np.float32)
FLAGS = {"pixels": "0..255", "mean": "100", "std": "50"}
ATTACKED = {"attacks": "clean,pgd3", "epsilon": "0.1", "dataset": "digits", "num_images": 30, "audit_images": 0}


@pytest.fixture(scope="module")
def plain(trained_net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("plain") / "net.keras")
    trained_net.save(path)
    return path


@pytest.fixture(scope="module")
def foreign(trained_net, tmp_path_factory):
    """The same net as others leave theirs: of pixels 0..255 normalised outside, softmax at its end, two outputs."""
    images = keras.Input((8, 8, 1))
    logits = trained_net(L.Rescaling(50 / 255, 100 / 255)(images))
    path = str(tmp_path_factory.mktemp("foreign") / "net.keras")
    keras.Model(
        images, {"scores": L.Softmax()(logits), "top": L.GlobalMaxPooling1D()(L.Reshape((10, 1))(logits))}
    ).save(path)
    return path


def test_evaluate_by_flags_is_evaluate_of_the_net_inside(plain, foreign, tmp_path, capsys):
    wanted = evaluate(replace(EvaluateConfig(), model=plain, output_dir=str(tmp_path / "a"), **ATTACKED))
    flags = [f"--{name}={value}" for name, value in (ATTACKED | FLAGS).items()]
    evaluate_main(parsed(EvaluateConfig, *flags, f"--model={foreign}", "--output=scores", f"--output_dir={tmp_path}/b"))
    found = read_record(AttackResults, f"{tmp_path}/b/{ATTACKS}")
    assert [row.accuracy for row in found.results] == [row.accuracy for row in wanted.results]
    assert wanted.changes == ()
    assert ['"scores" was taken' in found.changes[0], "softmax was taken off exactly" in found.changes[1]] == [
        1,
        1,
    ]
    assert "pixels of [0, 1] are scaled to 0..255 and normalised by mean (100.0,)" in found.changes[2]
    assert f"net: {found.changes[2]}" in capsys.readouterr().out


def test_measures_beside_attacks_say_it_too(plain, foreign, tmp_path):
    settings = {"calibration": True, "dataset": "digits", "num_images": 50}
    wanted = measure(replace(EvaluateConfig(), model=plain, output_dir=str(tmp_path / "a"), **settings))["calibration"]
    settings |= FLAGS | {"output": "0", "output_dir": str(tmp_path / "b")}
    found = measure(replace(EvaluateConfig(), model=foreign, **settings))["calibration"]
    assert found.nll == pytest.approx(wanted.nll, abs=1e-5)
    assert len(found.changes) == 3


def test_samples_know_how_their_net_was_used(plain, foreign, tmp_path):
    small = {"recipe": "chain", "num": 10, "stages": "sgld:steps=2", "start": "uniform", "dataset": "digits"}
    small |= {"readings": 0}
    sample(replace(SampleConfig(), model=plain, output_dir=str(tmp_path / "a"), **small))
    settings = small | FLAGS | {"output": "scores", "model": foreign, "output_dir": str(tmp_path / "b")}
    report = sample(replace(SampleConfig(), **settings))
    assert len(report.changes) == 3
    images = [next(SampleFolder(str(tmp_path / name)).shards()).images for name in "ab"]
    np.testing.assert_allclose(*images, atol=1e-4)
    with pytest.raises(ValueError, match="holds other samples"):
        sample(replace(SampleConfig(), **settings | {"std": "60"}))
    with pytest.raises(ValueError, match="otherwise used.*give the flags of"):
        measure(
            replace(
                EvaluateConfig(), model=foreign, output="scores", dataset="digits", features=plain,
                generation=str(tmp_path / "b"), output_dir=str(tmp_path / "c"),
            )
        )  # fmt: skip


def test_figures_say_it(foreign, tmp_path):
    settings = {"models": foreign, "dataset": "digits", "figures": "contours", "points": 3, "output": "scores"}
    report = draw(replace(DrawConfig(), output_dir=str(tmp_path), **settings, **FLAGS))
    record = report.figures["contours_joint_energy"]
    assert [len(net.changes) for net in record.models.values()] == [3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "received scores, top; choose one by --output="),
        ({"output": "logits"}, "one of scores, top, received 'logits'"),
        ({"output": "scores", "std": "0"}, "std > 0"),
        ({"output": "scores", "mean": "1,2"}, "one number or 1, one for each channel"),
    ],
)
def test_what_does_not_fit_the_net(settings, message, foreign):
    with pytest.raises(ValueError, match=rf"cannot use the net in {foreign}: .*{message}"):
        replace(Origin(), **settings).read(foreign)
    with pytest.raises(ValueError, match="expected a number"):
        Origin(mean="a")


def test_layers_of_ones_own_are_imported_and_programs_are_trusted(tmp_path, monkeypatch):
    (tmp_path / "my_layers_of_origin.py").write_text(
        "import keras\n@keras.saving.register_keras_serializable('mine')\nclass Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n        return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_layers_of_origin as mine

    keras.Sequential([keras.Input((8, 8, 1)), mine.Twice(), L.Flatten(), L.Dense(10)]).save(tmp_path / "twice.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "mine>Twice")
    del sys.modules["my_layers_of_origin"]
    with pytest.raises(ValueError, match="a layer of another package, Twice; give --imports"):
        Origin().read(str(tmp_path / "twice.keras"))
    with pytest.raises(ValueError, match="cannot import my_layer of --imports"):
        Origin(imports="my_layer").read(str(tmp_path / "twice.keras"))
    assert Origin(imports="my_layers_of_origin").read(str(tmp_path / "twice.keras")).net(X).shape == (7, 10)

    layers = [L.Lambda(lambda x: x / 2), L.Flatten(), L.Dense(10)]
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="a Lambda layer, which is a program; give --trust"):
        Origin().read(str(tmp_path / "lambda.keras"))
    assert Origin(trust=True).read(str(tmp_path / "lambda.keras")).net(X).shape == (7, 10)


def exported(folder, serve, *shape, dtype=tf.float32, name="images"):
    module = tf.Module()
    module.net = linear_net()
    signature = [tf.TensorSpec(shape, dtype, name=name)]
    module.serve = tf.function(lambda x: serve(module.net, x), input_signature=signature, autograph=False)
    tf.saved_model.save(module, folder, signatures=module.serve)
    return module.net


class TestSavedModels:
    @pytest.mark.parametrize("batch", [1, 3, None])
    @pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
    def test_any_batch_of_any_floats_is_served(self, batch, dtype, tmp_path):
        folder = str(tmp_path / "net")
        net = exported(folder, lambda net, x: {"logits": net(tf.cast(x, tf.float32))}, batch, 8, 8, 1, dtype=dtype)
        read = Origin(trust=True).read(folder).net
        np.testing.assert_allclose(read(X), net(X), atol=1e-6)
        gradients = []
        for one in (net, read):
            x = tf.constant(X)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(one(x) ** 2)
            gradients.append(tape.gradient(loss, x))
        np.testing.assert_allclose(*gradients, atol=1e-5)

    def test_one_image_at_a_time_is_attacked(self, tmp_path):
        folder = str(tmp_path / "net")
        net = exported(folder, lambda net, x: {"logits": net(x)}, 1, 8, 8, 1)
        net.save(tmp_path / "net.keras")
        settings = ATTACKED | {"num_images": 9}
        rows = [
            evaluate(replace(EvaluateConfig(), model=model, trust=trust, output_dir=f"{tmp_path}/{trust}", **settings))
            for model, trust in ((folder, True), (str(tmp_path / "net.keras"), False))
        ]
        accuracies = [[row.accuracy for row in report.results] for report in rows]
        assert accuracies[0] == accuracies[1]

    def test_an_output_is_chosen(self, tmp_path):
        folder = str(tmp_path / "net")
        net = exported(folder, lambda net, x: {"logits": net(x), "top": tf.argmax(net(x), -1)}, 2, 8, 8, 1)
        with pytest.raises(ValueError, match="logits, top; choose one"):
            Origin(trust=True).read(folder)
        read = Origin(trust=True, output="logits").read(folder).net
        np.testing.assert_allclose(read(X), net(X), atol=1e-6)
        with pytest.raises(ValueError, match="received a SavedModel, which cannot be; copy the net") as refused:
            in_bfloat16(read)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("shape", "dtype", "message"),
        [
            ((None, 8, 8, 1), tf.uint8, "signature of uint8, through which no gradient goes; export the net without"),
            ((None,), tf.string, "signature of string, through which no gradient"),
            ((None, 64), tf.float32, "a signature of shape .*; export one for images"),
            (None, tf.float32, "a signature of shape <unknown>; export one for images"),
        ],
    )
    def test_what_cannot_be_served(self, shape, dtype, message, tmp_path):
        module = tf.Module()
        signature = [tf.TensorSpec(shape, dtype)]
        module.serve = tf.function(lambda x: {"logits": tf.zeros([tf.shape(x)[0], 10])}, input_signature=signature)
        tf.saved_model.save(module, str(tmp_path / "net"), signatures={"serving_default": module.serve})
        with pytest.raises(ValueError, match=message):
            Origin(trust=True).read(str(tmp_path / "net"))
        tf.saved_model.save(module, str(tmp_path / "other"), signatures={"classify": module.serve})
        with pytest.raises(ValueError, match="received classify; export it by"):
            Origin(trust=True).read(str(tmp_path / "other"))


def test_help_lists_the_origin():
    for kind in (EvaluateConfig, SampleConfig, DrawConfig):
        text = help_text(kind, "", {})
        assert all(f"--{field.name}" in text for field in fields(Origin))
