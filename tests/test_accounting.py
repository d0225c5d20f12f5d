import functools
import random

import keras
import numpy as np
import pytest

from jeat_tf import EnergyClassifier, Persistent, jeat, jem, pgd, robust_jem, standard
from jeat_tf.core.balls import L2, Linf
from jeat_tf.methods.accounting import (
    Passes,
    activation_bytes,
    buffer_bytes,
    count_passes,
    forward_flops,
    step_flops,
)
from jeat_tf.methods.inner import Curriculum, Fresh, SplitPersistent
from jeat_tf.methods.recipes import dat, pgd_at, trades
from jeat_tf.methods.updates import Free, awp, descend, sam
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.sgld import sgld, split_sgld
from jeat_tf.samplers.starts import uniform
from tests.conftest import linear_net, tiny_cnn

SHAPE = (8, 8, 1)


def attack(num_steps):
    ball = Linf(0.1)
    return functools.partial(pgd, ball=ball, start=ball.random_start, step_size=0.05, num_steps=num_steps)


def buffer():
    return ReplayBuffer(20, uniform(SHAPE), image_shape=SHAPE, num_classes=10)


def persistent(num_steps):
    return Persistent(buffer(), functools.partial(sgld, step_size=0.25, noise_std=0.005, num_steps=num_steps))


def split_persistent(num_steps, **kwargs):
    chain = functools.partial(split_sgld, step_size=0.25, noise_std=0.005, num_steps=num_steps, inner_steps=5)
    return SplitPersistent(buffer(), chain, **kwargs)


def fresh():
    ascent = functools.partial(pgd, ball=L2(1.0), step_size=0.1, bounds=None)
    return Fresh(uniform(SHAPE), ascent, 10, Curriculum(5))


def counted(objective, update=descend, **kwargs):
    return count_passes(objective, update, SHAPE, 10, 16, **kwargs)


# Objective and update -> forward passes, gradients of images, gradients of weights.
COUNTS = {
    "standard": (standard, descend, (1, 0, 1)),
    "pgd_at": (lambda: pgd_at(attack(7)), descend, (7 + 1, 7, 1)),
    "trades": (lambda: trades(attack(4)), descend, (1 + 4 + 2, 4, 2)),  # p(y | x) once for the attack
    "jem": (lambda: jem(persistent(3)), descend, (3 + 2, 3, 2)),
    "jeat": (lambda: jeat(attack(1), persistent(20)), descend, (1 + 20 + 2, 1 + 20, 2)),
    "robust_jem": (lambda: robust_jem(attack(3), persistent(2)), descend, (3 + 2 + 3, 3 + 2, 3)),
    "dat": (lambda: dat(attack(5), fresh()), descend, (5 + 1 + 3, 5 + 1, 3)),  # the curriculum begins at one step
    "awp": (lambda: pgd_at(attack(7)), awp(0.01), (7 + 2, 7, 2)),
    "sam": (lambda: jem(persistent(2)), sam(0.1), (2 + 4, 2, 4)),
    "free": (standard, Free(Linf(0.1), batch_size=16, image_shape=SHAPE), (1, 1, 1)),
    "jem++": (lambda: jem(split_persistent(2)), descend, (2 + 2, 2, 2)),
    "jem++ cut elsewhere": (lambda: jem(split_persistent(2, layer="block_1")), descend, (2 + 2, 2, 2)),
}


class TestPasses:
    @pytest.mark.parametrize("name", COUNTS)
    def test_are_those_counted_by_hand(self, name):
        objective, update, expected = COUNTS[name]
        assert counted(objective(), update) == Passes(*expected)

    def test_a_stream_of_its_own_for_the_marginal_costs_a_pass(self):
        assert counted(jem(persistent(3)), separate_marginal=True) == Passes(3 + 3, 3, 3)

    def test_longer_chains_of_a_guard_count(self):
        model = EnergyClassifier(tiny_cnn(), jem(persistent(3)))
        model.adjustments.chain_rounds.assign(4)
        assert counted(model.objective) == Passes(12 + 2, 12, 2)

    def test_everything_stays_as_it_is(self):
        for objective in (jeat(attack(1), persistent(2)), dat(attack(1), fresh())):
            update = Free(Linf(0.1), batch_size=16, image_shape=SHAPE)
            update.delta.assign(update.delta + 0.05)
            model = EnergyClassifier(tiny_cnn(), objective, update)
            before = [weight.numpy().copy() for weight in model.weights]
            draws = random.getstate()
            counted(objective, update)
            for weight, value in zip(model.weights, before, strict=True):
                np.testing.assert_array_equal(weight, value)
            assert random.getstate() == draws  # Keras draws the seeds of initializers there


class TestFlops:
    def test_of_a_dense_layer(self):
        assert forward_flops(linear_net()) == 2 * 64 * 10 + 10

    @pytest.mark.parametrize("strides", [1, 2])
    def test_of_a_convolution(self, strides):
        net = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(5, 3, strides=strides, padding="same", use_bias=False),
                keras.layers.Flatten(),
            ]
        )
        assert forward_flops(net) == 2 * (8 // strides) ** 2 * 3 * 3 * 3 * 5

    def test_of_a_step_of_plain_training_are_three_forward_passes(self):
        assert step_flops(Passes(1, 0, 1), 100.0, 16) == 3 * 100 * 16

    def test_of_a_step_of_jeat(self):
        assert step_flops(Passes(23, 21, 2), 100.0, 16) == (23 + 21 + 4) * 100 * 16


class TestBytes:
    def test_of_activations_are_those_of_all_outputs(self):
        # The flat images and the logits.
        assert activation_bytes(linear_net(), 3) == 3 * 4 * (64 + 10)

    def test_of_nested_nets_and_half_precision(self):
        inner = keras.Sequential([keras.Input((64,)), keras.layers.Dense(7, dtype="mixed_bfloat16")])
        net = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), inner])
        assert activation_bytes(net, 2) == 2 * (4 * 64 + 2 * 7)

    def test_of_a_layer_made_of_others_are_those_of_its_output(self):
        wrapped = keras.layers.SpectralNormalization(keras.layers.Dense(7))
        assert activation_bytes(keras.Sequential([keras.Input((64,)), wrapped]), 2) == 2 * 4 * 7

    def test_of_the_buffer(self):
        assert buffer_bytes(jem(persistent(1))) == 20 * (64 * 4 + 4)
        assert buffer_bytes(dat(attack(1), fresh())) == buffer_bytes(standard()) == 0
