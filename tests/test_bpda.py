"""Defences that hide gradients, and gradients given to them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.bpda import bpda, identity, parse, silent_layers
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Linf

BALL = Linf(0.25)


@keras.saving.register_keras_serializable("tests")
class Quantise(keras.layers.Layer):
    def call(self, x):
        return tf.round(x * 8) / 8


class JpegLike(keras.layers.Layer):
    """Rounds the coefficients of blocks of 2 x 2 pixels."""

    def call(self, x):
        turn = tf.constant(np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2, tf.float32)
        blocks = tf.nn.space_to_depth(x, 2)
        return tf.nn.depth_to_space(tf.round(blocks @ turn * 6) / 6 @ turn, 2)


class MeanSparseLike(keras.layers.Layer):
    """Values within a threshold of the mean become the mean; the others keep their step."""

    def call(self, x):
        away = tf.round((x - 0.5) * 4) / 4
        return tf.where(tf.abs(x - 0.5) < 0.2, 0.5, 0.5 + away)


def defended(layer, digit_arrays):
    keras.utils.set_random_seed(0)
    x, labels = digit_arrays
    inner = [keras.layers.Flatten(), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)]
    plain = keras.Sequential([keras.Input((8, 8, 1)), *inner])
    plain.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plain.fit(x[:600], labels[:600], epochs=8, batch_size=64, verbose=0)
    return keras.Sequential([keras.Input((8, 8, 1)), layer, *inner])


@pytest.mark.parametrize("layer", [Quantise, JpegLike, MeanSparseLike])
def test_plain_attacks_are_fooled_and_the_adaptive_one_is_not(layer, digit_arrays):
    net = defended(layer(name="hidden"), digit_arrays)
    x, labels = digit_arrays[0][:40], digit_arrays[1][:40]
    attack = PGD(BALL, steps=20, start="image")
    assert silent_layers(net, x) == {"hidden": 1.0}
    adaptive = bpda(net, {"hidden": identity})
    np.testing.assert_array_equal(adaptive(x), net(x))
    plain, found = attack.against(net, x, labels), attack.against(adaptive, x, labels)
    assert plain.robust_accuracy == plain.clean_accuracy > 0.8
    assert found.robust_accuracy < 0.3
    # What the adaptive attack finds is adversarial for the net itself.
    np.testing.assert_array_equal(net(found.x_adv).numpy().argmax(-1) == labels, found.unbroken)


def test_a_layer_that_passes_gradients_is_not_named(trained_net, digit_arrays):
    assert silent_layers(trained_net, digit_arrays[0][:8]) == {}


def test_a_layer_that_is_not_there_names_its_neighbours(digit_arrays):
    net = keras.Sequential([keras.Input((8, 8, 1)), Quantise(name="quantise"), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="did you mean quantise"):
        bpda(net, {"quantize": identity})


@pytest.mark.parametrize(("text", "message"), [("quantise", "layer:function"), ("a:identify", "did you mean identity")])
def test_a_bad_flag_says_what_is_expected(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)
