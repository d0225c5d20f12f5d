import numpy as np
import tensorflow as tf

from jeat_tf.core.seeds import fold_in, split
from tests.conftest import seed


def test_seeds_and_integers_are_the_same_under_xla():
    def run():
        first, second = split(seed(5))
        return fold_in(first, 3), tf.random.stateless_uniform([20], second, alg="philox")

    for graph, compiled in zip(tf.function(run)(), tf.function(run, jit_compile=True)(), strict=True):
        np.testing.assert_array_equal(graph, compiled)


def test_seeds_differ_by_what_is_folded_in():
    seeds = {tuple(fold_in(seed(), i).numpy()) for i in range(100)}
    assert len(seeds) == 100
