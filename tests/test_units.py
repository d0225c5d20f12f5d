import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.core.units import (
    fraction_of_255,
    gradient_bound_from_symmetric,
    gradient_step_from_symmetric,
    length_from_symmetric,
    number,
)
from jeat_tf.samplers.sgld import sgld
from tests.conftest import seed


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.1", 0.1), (".5", 0.5), ("1e-3", 1e-3), (2, 2.0)])
def test_numbers_and_fractions(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["eight", "8/", "8/0", "", "1/2/3"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="8/255"):
        number(text)


def test_fraction_of_255():
    assert fraction_of_255(8 / 255) == "8/255"
    assert fraction_of_255(0.1) == "0.1"
    assert fraction_of_255(0.2) == "0.2"  # which is 51/255, but nobody writes it so
    assert fraction_of_255(0.0) == "0"
    assert fraction_of_255(12.0) == "12"


@pytest.mark.parametrize("clip", [None, 0.3])
def test_a_chain_in_symmetric_units_is_the_converted_chain_in_pixels(clip):
    def energy_of_pixels(x):
        return tf.reduce_sum(tf.square(x - 0.3) * 2 + tf.sin(3 * x), axis=(1, 2, 3))

    x = tf.random.stateless_uniform([6, 2, 2, 1], seed())
    pixel = sgld(
        energy_of_pixels,
        x,
        seed=seed(1),
        step_size=gradient_step_from_symmetric(0.2),
        noise_std=length_from_symmetric(0.04),
        num_steps=7,
        clip_gradient=clip and gradient_bound_from_symmetric(clip),
    )
    symmetric = sgld(
        lambda u: energy_of_pixels((u + 1) / 2),
        2 * x - 1,
        seed=seed(1),
        step_size=0.2,
        noise_std=0.04,
        num_steps=7,
        clip_gradient=clip,
    )
    np.testing.assert_allclose(pixel, (symmetric + 1) / 2, atol=1e-6)
