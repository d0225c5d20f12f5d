import random

import keras
import numpy as np
import pytest

from jeat_tf import EnergyClassifier
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Linf
from jeat_tf.methods.accounting import (
    Passes,
    activation_bytes,
    buffer_bytes,
    count_passes,
    forward_flops,
    step_flops,
)
from jeat_tf.methods.recipes.dat import DAT
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.robust_jem import RobustJEM
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.methods.steps import FreeStep, awp, descend, sam
from jeat_tf.samplers.values import SGLD, NormalizedDescent, SplitSGLD
from tests.conftest import linear_net, tiny_cnn

SHAPE = (8, 8, 1)


def attack(steps):
    return PGD(Linf(0.1), steps, 0.05)


def chains(steps):
    return {"chain": SGLD(steps), "buffer_size": 20, "input_noise_std": 0.0}


def split_chains(steps, layer=""):
    return chains(steps) | {"chain": SplitSGLD(steps, inner_steps=5, layer=layer)}


def dat(steps):
    return DAT(attack(steps), chain=NormalizedDescent(5))


def objective(method):
    return method.objective(SHAPE, 10, 0)


def counted(minimised, update=descend, **kwargs):
    return count_passes(minimised, update, SHAPE, 10, 16, **kwargs)


# Method and update -> forward passes, gradients of images, gradients of weights.
COUNTS = {
    "standard": (Standard(), descend, (1, 0, 1)),
    "pgd_at": (PGDAT(attack(7)), descend, (7 + 1, 7, 1)),
    "trades": (TRADES(attack(4)), descend, (1 + 4 + 2, 4, 2)),  # p(y | x) once for the attack
    "jem": (JEM(**chains(3)), descend, (3 + 2, 3, 2)),
    "jeat": (JEAT(attack=attack(1), **chains(20)), descend, (1 + 20 + 2, 1 + 20, 2)),
    "robust_jem": (RobustJEM(attack=attack(3), **chains(2)), descend, (3 + 2 + 3, 3 + 2, 3)),
    "dat": (dat(5), descend, (5 + 3, 5, 3)),  # the curriculum begins without a step
    "awp": (PGDAT(attack(7)), awp(0.01), (7 + 2, 7, 2)),
    "sam": (JEM(**chains(2)), sam(0.1), (2 + 4, 2, 4)),
    "free": (Standard(), FreeStep(Linf(0.1), batch_size=16, image_shape=SHAPE), (1, 1, 1)),
    "jem++": (JEM(**split_chains(2)), descend, (2 + 2, 2, 2)),
    "jem++ cut elsewhere": (JEM(**split_chains(2, layer="block_1")), descend, (2 + 2, 2, 2)),
}


class TestPasses:
    @pytest.mark.parametrize("name", COUNTS)
    def test_are_those_counted_by_hand(self, name):
        method, update, expected = COUNTS[name]
        assert counted(objective(method), update) == Passes(*expected)

    def test_a_stream_of_its_own_for_the_marginal_costs_a_pass(self):
        assert counted(objective(JEM(**chains(3))), separate_marginal=True) == Passes(3 + 3, 3, 3)

    def test_longer_chains_of_a_guard_count(self):
        model = EnergyClassifier(tiny_cnn(), JEM(**chains(3)))
        model.adjustments.chain_rounds.assign(4)
        assert counted(model.objective) == Passes(12 + 2, 12, 2)

    def test_everything_stays_as_it_is(self):
        for method in (JEAT(attack=attack(1), **chains(2)), dat(1)):
            update = FreeStep(Linf(0.1), batch_size=16, image_shape=SHAPE)
            update.delta.assign(update.delta + 0.05)
            model = EnergyClassifier(tiny_cnn(), method, update)
            before = [weight.numpy().copy() for weight in model.weights]
            draws = random.getstate()
            counted(model.objective, update)
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
        assert buffer_bytes(objective(JEM(**chains(1)))) == 20 * (64 * 4 + 4)
        assert buffer_bytes(objective(dat(1))) == buffer_bytes(objective(Standard())) == 0
