"""A net and images that do not belong together: from three points of accuracy on, there is a word."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks.misfits import misfits
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.guessing import accuracy_of_guessing, is_guessing
from jeat_tf.evaluate.density import measure
from jeat_tf.methods.recipes.standard import Standard

ATTACK = jt.attacks.PGD(jt.Linf(0.01), steps=1)


@pytest.fixture(scope="module")
def images(digit_arrays):
    return digit_arrays[0][:200], digit_arrays[1][:200]


def of_scale(net, scale, offset=0.0):
    x = keras.Input((8, 8, 1))
    return keras.Model(x, net(keras.layers.Rescaling(scale, offset)(x)))


def right_on(labels, share_of_bytes, share):
    """Images of their own number, and a function of them that is right on these shares of bytes and of floats."""
    x = np.zeros((len(labels), 2, 2, 1), np.float32)
    x[:, 0, 0, 0] = np.arange(len(labels)) / len(labels)
    x[:, 1, 1, 0] = 1.0

    def net(images):
        bytes_ = images[:, 1, 1, 0] > 2
        place = tf.cast(tf.round(images[:, 0, 0, 0] / images[:, 1, 1, 0] * len(labels)), tf.int32)
        shares = tf.where(bytes_, share_of_bytes, tf.where(images[:, 1, 1, 0] == 1, share, 0.0))
        right = tf.cast(place, tf.float32) < shares * len(labels)
        label = tf.gather(tf.constant(labels, tf.int32), tf.clip_by_value(place, 0, len(labels) - 1))
        return 9 * tf.one_hot(tf.where(right, label, (label + 1) % 10), 10)

    return x, net


@pytest.mark.parametrize(("more", "fires"), [(0.02, False), (0.03, True), (0.2, True)])
def test_three_points_more_on_another_scale_are_a_word(more, fires):
    labels = np.arange(200) % 10
    x, net = right_on(labels, 0.5 + more, 0.5)
    outside, guessing = misfits(Oracle(net), x, labels)
    assert outside.fired == fires
    assert ('jt.as_logits(net, pixels="0..255")' in outside.detail) == fires
    assert not guessing.fired


@pytest.mark.parametrize(("scale", "offset", "remedy"), [(1 / 255, 0.0, "0..255"), (0.5, 0.5, "-1..1")])
def test_attacks_and_evaluate_warn_and_the_remedy_ends_it(scale, offset, remedy, trained_net, images):
    net = of_scale(trained_net, scale, offset)
    model = jt.EnergyClassifier(net, Standard())
    model.compile("sgd", metrics=["accuracy"])
    calls = [lambda: ATTACK.against(net, *images), lambda: model.evaluate(*images, verbose=0)]
    for call in calls:
        with pytest.warns(UserWarning, match=rf'normalisation outside the net: .*pixels="{remedy}"'):
            call()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = ATTACK.against(jt.as_logits(net, pixels=remedy), *images)
    assert found.clean_accuracy > 0.9


def test_other_classes_are_told_as_guessing(trained_net, images):
    x, y = images
    with pytest.warns(UserWarning, match="no better than guessing: .*order of the classes"):
        ATTACK.against(trained_net, x, (y + 1) % 10)


def test_a_net_that_was_trained_here_is_believed(images):
    keras.utils.set_random_seed(0)
    net = jt.models.small_cnn((8, 8, 1), 10)
    model = jt.EnergyClassifier(net, Standard())
    model.compile("adam", metrics=["accuracy"])
    model.fit(*images, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.evaluate(*images, verbose=0)


def test_measures_without_attacks_record_it(trained_net, tmp_path):
    of_scale(trained_net, 1 / 255).save(tmp_path / "net.keras")
    settings = {"calibration": True, "dataset": "digits", "num_images": 100, "output_dir": str(tmp_path / "a")}
    report = measure(replace(EvaluateConfig(), model=str(tmp_path / "net.keras"), **settings))["calibration"]
    assert next(check.name for check in report.checks if check.fired) == "normalisation outside the net"


def test_guessing():
    labels = np.repeat([0, 1], [75, 25])
    assert accuracy_of_guessing(labels) == 0.75
    assert is_guessing(0.75, labels)
    assert is_guessing(0.83, labels)
    assert not is_guessing(0.85, labels)
    assert is_guessing(0.18, np.arange(1000) % 10)
    assert not is_guessing(0.2, np.arange(1000) % 10)
    assert not is_guessing(0.0, np.arange(10))  # of so few nothing is known
    assert not is_guessing(1.0, np.zeros(50, int))
