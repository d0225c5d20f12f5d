"""Nets beside the one that a verb is about: what is said behind their path, and what a refusal says to type."""

import re

import keras
import numpy as np
import pytest

from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.models.files import load_net
from jeat_tf.models.origin import NamedNet, Origin, named_net
from jeat_tf.runs.second_nets import open_second_of
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train
from tests.conftest import tiny_cnn

L = keras.layers
X = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
SHORT = {"method": "standard", "epochs": 1, "batch_size": 16, "robust_every": 0, "images_every": 0, "monitor": ""}
SHORT |= {"max_steps": 1, "learning_rate": 0.0}


def wants(net, scale, offset=0.0, *last):
    """A net of other pixels that gives what `net` gives for those in [0, 1], and for no others."""
    first = [L.Rescaling(scale, offset), L.ReLU(max_value=1.0)]
    return keras.Sequential([keras.Input((8, 8, 1)), *first, net, *last])


@pytest.fixture
def plain(trained_net, tmp_path):
    trained_net.save(tmp_path / "plain.keras")
    return str(tmp_path / "plain.keras")


@pytest.fixture
def foreign(trained_net, tmp_path):
    """Pixels of 0..255, and a softmax at its end."""
    wants(trained_net, 1 / 255, 0.0, L.Softmax()).save(tmp_path / "theirs.keras")
    return str(tmp_path / "theirs.keras")


def test_settings_stand_behind_the_path():
    found = named_net("a/b:c.keras:pixels=0..255,mean=0.5,0.4, 0.3,head=softmax,trust=true,imports=a.b,c")
    origin = Origin(pixels="0..255", mean="0.5,0.4, 0.3", head="softmax", trust=True, imports="a.b,c")
    assert found == NamedNet("a/b:c.keras", origin)
    assert named_net("runs/judge") == NamedNet("runs/judge")
    assert named_net("C:/nets/a.keras") == NamedNet("C:/nets/a.keras")


def test_a_file_of_such_a_name_is_that_file(tmp_path):
    path = tmp_path / "lr:rate=3"
    path.mkdir()
    assert named_net(str(path)) == NamedNet(str(path))
    assert named_net(f"{path}/net.keras:pixels=-1..1").path == f"{path}/net.keras"


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        ("pixel=0..255", 'unknown setting "pixel" behind net.keras; did you mean pixels'),
        ("pixels=0..256", "received '?0..256"),
        ("trust=yes", 'expected net.keras:trust to be true or false, received "yes"'),
        ("mean=a", "expected a number"),
    ],
)
def test_settings_that_there_are_not(behind, message):
    with pytest.raises(ValueError, match=message):
        named_net(f"net.keras:{behind}")


def test_what_a_refusal_says_to_type_is_right(foreign, plain, digits):
    known = open_second_of(plain, "judge", digits)
    with pytest.raises(ValueError, match=r"right on another scale \(accuracy \d+% on \[0, 1\]") as refused:
        open_second_of(foreign, "judge", digits)
    said = re.search(r"give --judge=(\S+), or (\S+) to use it as it is", str(refused.value))
    assert said[1] == f"{foreign}:pixels=0..255"
    found = open_second_of(said[1], "judge", digits)
    assert found.found.accuracy == known.found.accuracy > 0.9
    np.testing.assert_allclose(found.net(X), known.net(X), atol=2e-4)
    assert len(found.found.changes) == 2
    with pytest.raises(ValueError, match=rf"check its classes, say how it wants images as in {foreign}:pixels"):
        open_second_of(said[2], "judge", digits)


@pytest.mark.parametrize(("scale", "offset", "words"), [(0.5, 0.5, "pixels=-1..1"), (0.38, 0.3, "mean=0.3,std=0.38")])
def test_pixels_as_said_give_the_net_inside(scale, offset, words, trained_net, tmp_path, digits):
    path = str(tmp_path / "theirs.keras")
    wants(trained_net, scale, offset).save(path)
    with pytest.raises(ValueError, match=rf"give --transfer_from={path}:(pixels=-1..1|mean=)"):
        open_second_of(path, "transfer_from", digits)
    np.testing.assert_allclose(
        open_second_of(f"{path}:{words}", "transfer_from", digits).net(X), trained_net(X), atol=1e-3
    )


def test_a_net_that_is_a_little_better_on_another_scale_by_its_name_is_used_as_it_is(trained_net, tmp_path, digits):
    path = str(tmp_path / "a.keras")
    wants(trained_net, 0.75, 0.1).save(path)
    assert open_second_of(f"{path}:pixels=0..1", "features", digits).found.changes == ()


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_keras_2_is_a_judge(trained_net, tmp_path, digits):
    tf_keras = pytest.importorskip("tf_keras")
    k = tf_keras.layers
    net = tf_keras.Sequential([k.Input((8, 8, 1)), k.Rescaling(1 / 255), k.Flatten(), k.Dense(10, "softmax")])
    from sklearn.linear_model import LogisticRegression

    images, labels = digits.arrays("train")
    fitted = LogisticRegression(max_iter=200).fit(images.reshape(len(images), -1) / 255.0, labels)
    net.set_weights([fitted.coef_.T, fitted.intercept_])
    path = str(tmp_path / "theirs.h5")
    net.save(path)
    with pytest.raises(ValueError, match=rf"--features={path}:pixels=0..255"):
        open_second_of(path, "features", digits)
    assert open_second_of(f"{path}:pixels=0..255", "features", digits).found.accuracy > 0.9


def test_what_is_missing_is_named_as_it_is_typed_behind_a_path(tmp_path, digits):
    images = keras.Input((8, 8, 1))
    flat = L.Flatten()(images)
    keras.Model(images, {"a": L.Dense(10)(flat), "b": L.Dense(10)(flat)}).save(tmp_path / "two.keras")
    with pytest.raises(ValueError, match=r"received a, b; choose one by .*two.keras:output=\.\.\."):
        open_second_of(str(tmp_path / "two.keras"), "judge", digits)
    keras.Sequential([images, L.Lambda(lambda x: x / 2), L.Flatten(), L.Dense(10)]).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"give .*lambda.keras:trust=true if you know where it is from"):
        open_second_of(str(tmp_path / "lambda.keras"), "judge", digits)
    assert named_net(f"{tmp_path}/lambda.keras:trust=true").read().net(X).shape == (5, 10)


def test_a_judge_with_settings_grades_as_the_net_inside(foreign, plain, run, tmp_path):
    small = {"num": 10, "readings": 0, "start": "uniform", "stages": "sgld:steps=1", "model": run}
    reports = [
        sample(replace(SampleConfig(), judge=judge, output_dir=str(tmp_path / name), **small))
        for name, judge in (("a", plain), ("b", f"{foreign}:pixels=0..255"))
    ]
    rated = [report.judge for report in reports]
    assert rated[0].accuracy == rated[1].accuracy
    assert rated[0].frechet_classifier_distance == pytest.approx(rated[1].frechet_classifier_distance, rel=1e-3)


def test_a_teacher_with_settings_labels_images_and_is_in_the_record(foreign, tmp_path):
    config = replace(
        TrainConfig(), **SHORT, labelled_percent=30, pseudo_labels=f"{foreign}:pixels=0..255",
        model_dir=str(tmp_path / "run"),
    )  # fmt: skip
    result = train(config)
    assert result.teacher.accuracy > 0.9
    assert "softmax was taken off exactly" in result.teacher.changes[0]
    with pytest.raises(ValueError, match="give --pseudo_labels=.*:pixels=0..255"):
        train(replace(config, pseudo_labels=foreign, model_dir=str(tmp_path / "other")))


class TestInitFrom:
    def trained(self, tmp_path, init_from, **more):
        train(replace(TrainConfig(), **SHORT | more, init_from=init_from, model_dir=str(tmp_path / "run")))
        return load_net(str(tmp_path / "run"))

    def test_a_net_of_other_pixels_keeps_its_function(self, trained_net, foreign, tmp_path):
        net = self.trained(tmp_path, f"{foreign}:pixels=0..255")
        np.testing.assert_allclose(net(X), trained_net(X), atol=1e-4)

    def test_weights_that_fit_a_net_of_another_function_are_not_put_into_it(self, tmp_path):
        import jeat_tf as jt

        new = jt.models.small_cnn((8, 8, 1), 10)
        other = keras.models.clone_model(
            new, clone_function=lambda layer: (
                type(layer).from_config(layer.get_config() | {"activation": "tanh"})
                if isinstance(layer, L.Conv2D) else type(layer).from_config(layer.get_config())
            ),
        )  # fmt: skip
        if np.allclose(other(X), new(X)):
            pytest.fail("the clone computes the same")
        other.save(tmp_path / "other.keras")
        net = self.trained(tmp_path, str(tmp_path / "other.keras"))
        np.testing.assert_allclose(net(X), other(X), atol=1e-5)

    def test_a_net_of_other_pixels_and_classes_gets_a_new_head(self, tmp_path, capsys):
        inner = tiny_cnn(num_classes=7)
        wants(inner, 1 / 255, 0.0, L.Softmax()).save(tmp_path / "seven.keras")
        net = self.trained(tmp_path, f"{tmp_path}/seven.keras:pixels=0..255")
        assert net.output_shape == (None, 10)
        said = capsys.readouterr().out
        assert "init_from: pixels of [0, 1] are scaled to 0..255" in said
        assert "with a new head for 10 classes" in said

    def test_a_fault_names_the_flag(self, tmp_path):
        with pytest.raises(ValueError, match="--init_from=.*none.keras:pixels=-1..1: no net at"):
            self.trained(tmp_path, f"{tmp_path}/none.keras:pixels=-1..1")
