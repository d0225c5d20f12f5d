import numpy as np
import tensorflow as tf

from jeat_tf.core.loops import input_gradient, repeat
from jeat_tf.core.seeds import fold_in
from tests.conftest import linear_net, seed

X = tf.random.stateless_uniform([3, 8, 8, 1], [0, 0])


def test_gradient_is_each_images_own():
    weights = tf.random.stateless_normal([8, 8, 1], seed())
    gradient = input_gradient(lambda x: tf.reduce_sum(x * weights, (1, 2, 3)) * [1.0, 2.0, 3.0], X)
    np.testing.assert_allclose(gradient, np.stack([weights, 2 * weights, 3 * weights]), rtol=1e-6)


def test_a_function_without_gradient_gives_zeros():
    np.testing.assert_array_equal(input_gradient(lambda x: tf.reduce_sum(tf.round(x), (1, 2, 3)), X), np.zeros(X.shape))
    np.testing.assert_array_equal(
        input_gradient(lambda x: tf.cast(tf.argmax(x[:, :, 0, 0], -1), tf.float32), X), np.zeros(X.shape)
    )


def test_repeat_is_the_python_loop_with_a_seed_for_each_step():
    def step(x, seed):
        return x * 0.9 + tf.random.stateless_normal(x.shape, seed, alg="philox")

    expected = X
    for i in range(5):
        expected = step(expected, fold_in(seed(3), i))
    np.testing.assert_allclose(repeat(step, X, seed=seed(3), num_steps=5), expected, rtol=1e-6)


def test_zero_steps_leave_x():
    np.testing.assert_array_equal(repeat(lambda x, seed: x + 1, X, seed=seed(), num_steps=0), X)


def test_no_gradient_flows_through_repeat():
    net = linear_net()

    @tf.function(autograph=False)
    def gradient():
        with tf.GradientTape() as tape:
            x = repeat(lambda x, seed: x + tf.reduce_mean(net(x)), X, seed=seed(), num_steps=2)
            loss = tf.reduce_sum(x)
        return tape.gradient(loss, net.trainable_variables)

    assert all(g is None for g in gradient())
