import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks import cross_entropy
from jeat_tf.evaluation import agreement, attacked_verdicts, classifier_features, clean_verdicts, frechet_distance
from jeat_tf.norms import linf
from jeat_tf.pictures import grid
from tests.conftest import tiny_cnn

X = np.random.default_rng(0).random((30, 8, 8, 1), np.float32)
LABELS = np.arange(30) % 10


def test_frechet_distance_of_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(5000, 3))
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    a, b = white * [1.0, 2.0, 3.0], white * [2.0, 2.0, 1.0] + [1.0, 0.0, -1.0]
    # Commuting covariances: |mean difference|^2 + sum of (std_a - std_b)^2.
    assert frechet_distance(a, b) == pytest.approx(2 + 1 + 0 + 4, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_agrees_with_the_matrix_square_root():
    import scipy.linalg

    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    root = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(
        np.cov(a, rowvar=False) + np.cov(b, rowvar=False) - 2 * root
    )
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_with_fewer_images_than_features_is_finite_and_zero_on_itself():
    few = np.random.default_rng(0).normal(size=(5, 20))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(few[:1], few)


def test_features_are_what_the_last_dense_layer_reads():
    net = tiny_cnn()
    dense = net.layers[-1]
    logits = classifier_features(net, X) @ dense.kernel.numpy() + dense.bias.numpy()
    np.testing.assert_allclose(logits, net(X), atol=1e-5)
    assert agreement(net, X, np.argmax(net(X), -1)) == 1.0
    with pytest.raises(ValueError, match="images of shape"):
        classifier_features(net, X[:, :4])
    inputs = keras.Input((8, 8, 1))
    without = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(10, 3)(inputs)))
    with pytest.raises(ValueError, match="dense layer"):
        classifier_features(without, X)


def test_verdicts_are_by_image_whatever_the_batches():
    net = tiny_cnn()
    for size in (30, 7):
        batches = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(size)
        np.testing.assert_array_equal(clean_verdicts(net, batches).correct, np.argmax(net(X), -1) == LABELS)
        idle = attacked_verdicts(net, cross_entropy, lambda fn, x, *, seed: x, linf(0.1), batches, seed=0)
        np.testing.assert_array_equal(idle.correct, np.argmax(net(X), -1) == LABELS)
        assert idle.distance.max() == 0


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [(X * 255, LABELS, "divide by 255"), (X, LABELS - 1, "0..9"), (X, np.eye(10)[LABELS], "argmax")],
)
def test_bad_input_is_refused(images, labels, message):
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    with pytest.raises(ValueError, match=message):
        clean_verdicts(tiny_cnn(), batches)


@pytest.mark.parametrize("leaves", [lambda x: x + 0.2 * (0.5 - x), lambda x: x + 0.05])
def test_an_attack_that_leaves_ball_or_bounds_is_caught(leaves):
    images = np.concatenate([X, np.zeros_like(X[:1]), np.ones_like(X[:1])])
    batches = tf.data.Dataset.from_tensor_slices((images, np.zeros(32, np.int64))).batch(8)
    with pytest.raises(RuntimeError, match="left its linf ball"):
        attacked_verdicts(tiny_cnn(), cross_entropy, lambda fn, x, *, seed: leaves(x), linf(0.06), batches, seed=0)


def test_a_grid_places_each_image():
    images = np.linspace(0, 1, 6, dtype=np.float32)[:, None, None, None] * np.ones((6, 2, 2, 1), np.float32)
    picture = grid(images, 3, scale=2)
    assert picture.shape == (2 * 5 + 1, 3 * 5 + 1, 1)
    assert [picture[1 + 5 * row, 1 + 5 * column, 0] for row in range(2) for column in range(3)] == [
        0, 51, 102, 153, 204, 255
    ]  # fmt: skip
    assert picture[0, 0, 0] == 128
