"""Inputs like those that once failed: each is taken as it is meant, or refused with what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.core.checks import admit, admit_images, admit_labels
from jeat_tf.core.logits import check_logits
from jeat_tf.methods.callbacks import RobustAccuracy
from jeat_tf.methods.entrances import Entrance, in_words
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.metrics.features import classifier as judge
from jeat_tf.samplers.editing import counterfactual, inpaint, translate
from jeat_tf.samplers.values import SGLD
from tests.conftest import linear_net

L = keras.layers
X = np.random.default_rng(0).random((24, 8, 8, 1), np.float32)
Y = np.arange(24) % 10
ATTACK = jt.attacks.PGD(jt.Linf(0.05), steps=1)


def classifier(net=None):
    model = jt.EnergyClassifier(net or linear_net(), Standard())
    model.compile("sgd")
    return model


def sequential(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers, L.Dense(10)])


IMAGES = {
    "masked": (lambda: np.ma.masked_greater(X, 0.9), "without a mask"),
    "ragged": (lambda: tf.RaggedTensor.from_tensor(X), r"RaggedTensor; pass it as .to_tensor\(\)"),
    "sparse": (lambda: tf.sparse.from_dense(X), r"SparseTensor; pass it as tf.sparse.to_dense"),
    "a dataset": (lambda: tf.data.Dataset.from_tensor_slices(X), "as one array, received _TensorSliceDataset"),
    "a dict": (lambda: {"image": X}, "keys image; pass one of them"),
    "16 bits": (lambda: (X * 65535).astype(np.uint16), "divide integer images by 65535"),
    "0..65535": (lambda: X * 65535, "divide by 65535"),
    "one image": (lambda: X[0], r"images\[None\] for one"),
    "channels last": (lambda: np.zeros((2, 8, 8, 3)), r"channels first: pass np.moveaxis\(images, -1, 1\)"),
    "of another size": (lambda: np.zeros((2, 3, 9, 9)), "resize them"),
}
SHAPES = {
    "grey": ((8, 8, 1), (8, 8, 3), r"pass images.repeat\(3, axis=-1\)"),
    "transparent": ((8, 8, 4), (8, 8, 3), r"images\[..., :3\], without their transparency"),
    "channels first": ((3, 8, 8), (8, 8, 3), r"np.moveaxis\(images, 1, -1\)"),
}
LABELS = {
    "from one": (lambda: Y + 1, "0..9.*received 1..10; labels count from 0: pass labels - 1"),
    "unknown": (lambda: np.where(Y > 4, -1, Y), "received -1..4; leave out images without a label"),
    "words": (lambda: Y.astype(str), "<U.*number the classes from 0: np.unique"),
    "objects": (lambda: tf.constant(Y.astype(str)), "object; number the classes"),
    "one number": (lambda: 3, "pass a list"),
    "none": (lambda: [], "at least 1 label"),
    "masked": (lambda: np.ma.masked_equal(Y, 3), "without a mask"),
    "booleans": (lambda: Y > 4, r"bool; pass labels.astype\(int\)"),
}


class TestArrays:
    @pytest.mark.parametrize("kind", IMAGES)
    def test_images(self, kind):
        make, message = IMAGES[kind]
        with pytest.raises(ValueError, match=message):
            admit_images(make(), image_shape=(3, 8, 8))

    @pytest.mark.parametrize("kind", SHAPES)
    def test_shapes(self, kind):
        received, wanted, message = SHAPES[kind]
        with pytest.raises(ValueError, match=message):
            admit_images(np.zeros((2, *received)), image_shape=wanted)

    @pytest.mark.parametrize("kind", LABELS)
    def test_labels(self, kind):
        make, message = LABELS[kind]
        with pytest.raises(ValueError, match=message):
            admit_labels(make(), 10)

    def test_labels_that_32_bits_do_not_hold_are_not_cut(self):
        with pytest.raises(ValueError, match=r"labels in 0\.\.999999, received 4294967296"):
            admit(X, Y + 2**32)

    def test_what_numpy_reads_is_read(self, tmp_path):
        class Wrapped:
            def __init__(self, array):
                self.array = array

            def __array__(self, dtype=None, copy=None):
                return np.asarray(self.array, dtype)

        np.save(tmp_path / "x.npy", X)
        fixed = X.copy()
        fixed.setflags(write=False)
        for images in (np.load(tmp_path / "x.npy", mmap_mode="r"), fixed, np.ma.array(X), Wrapped(X), list(X)):
            admitted, labels = admit(images, Wrapped(Y), 10)
            np.testing.assert_array_equal(admitted, X)
            assert labels.dtype == np.int32


def unknown(*batches):
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_types=(tf.float32, tf.int64))


class Loader:
    """Batches without a `next`, as PyTorch's loaders are."""

    def __iter__(self):
        return iter([(X, Y)])


class Empty(keras.utils.PyDataset):
    def __len__(self):
        return 0

    def __getitem__(self, i):
        raise IndexError(i)


class TestBatches:
    def test_of_unknown_shape_train_alike(self):
        one, other = (classifier() for _ in range(2))
        other.net.set_weights(one.net.get_weights())
        one.fit(unknown((X[:16], Y[:16]), (X[16:], Y[16:])), verbose=0)
        other.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
        np.testing.assert_array_equal(one.net.get_weights()[0], other.net.get_weights()[0])

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ((X[:, :4], Y), r"images of shape \[8, 8, 1\]"),
            ((X[..., 0], Y), r"images of shape \[8, 8, 1\]"),
            ((X, Y[:5]), "one for each image"),
            ((X, np.eye(10, dtype=int)[Y]), "one for each image"),
        ],
    )
    def test_of_unknown_shape_are_looked_at_one_by_one(self, second, message):
        batches, _ = Entrance((8, 8, 1), 10).admitted(unknown((X, Y), second))
        with pytest.raises(ValueError, match=message), in_words():
            list(batches)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (
                lambda: tf.data.Dataset.from_tensor_slices((X, Y)),
                r"single ones of shape \[8, 8, 1\]; give dataset.batch",
            ),
            (lambda: Empty(), "received an empty one"),
            (lambda: [(X, Y)], r"received list alone; .* or iter\(\.\.\.\)"),
            (lambda: Loader(), r"received Loader alone; .* or iter\(\.\.\.\)"),
            (lambda: {"image": X, "label": Y}, "received dict alone; give images and labels"),
        ],
    )
    def test_that_are_none(self, make, message):
        with pytest.raises(ValueError, match=message):
            classifier().fit(make(), verbose=0)

    @pytest.mark.filterwarnings("ignore:.*shuffle")
    def test_of_a_loader_train_by_iter(self):
        assert classifier().fit(iter(Loader()), verbose=0).history["loss"]

    @pytest.mark.parametrize("size", [0, -1, 16.0])
    def test_of_no_size(self, size):
        for call in (classifier().fit, classifier().evaluate, lambda x, y, **k: classifier().predict(x, **k)):
            with pytest.raises(ValueError, match="batch_size, a whole number of at least 1"):
                call(X, Y, batch_size=size)

    @pytest.mark.parametrize(
        "metric",
        [
            "categorical_accuracy",
            "ce",
            keras.metrics.AUC(),
            keras.metrics.SparseCategoricalCrossentropy(),
            keras.metrics.binary_accuracy,
        ],
    )
    def test_are_not_measured_by_what_they_are_not(self, metric):
        with pytest.raises(ValueError, match="expected metrics of integer labels and logits"):
            classifier().compile("sgd", metrics=[metric])

    def test_are_measured_by_sparse_metrics_and_ones_own(self):
        def my_precision(labels, logits):
            return tf.cast(tf.argmax(logits, -1) == tf.cast(labels, tf.int64), tf.float32)

        whole = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="whole")
        model = classifier()
        model.compile("sgd", metrics=["accuracy", whole, keras.metrics.SparseTopKCategoricalAccuracy(3), my_precision])
        found = model.evaluate(X, Y, verbose=0, return_dict=True)
        assert found["whole"] == pytest.approx(found["loss"], rel=1e-5)
        assert found["my_precision"] == pytest.approx(found["accuracy"])


class Subclassed(keras.Model):
    def __init__(self, named=False):
        super().__init__()
        self.flat, self.dense, self.named = L.Flatten(), L.Dense(10), named

    def call(self, x):
        return {"logits": self.dense(self.flat(x)), "x": x} if self.named else self.dense(self.flat(x))


def called(net):
    net(X)
    return net


def of_two_inputs():
    a, b = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    return keras.Model([a, b], L.Dense(10)(L.Flatten()(a + b)))


def of_a_list():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, [L.Dense(10)(L.Flatten()(images)), L.Dense(3)(L.Flatten()(images))])


def of_keras_2():
    layers = pytest.importorskip("tf_keras").layers
    return pytest.importorskip("tf_keras").Sequential([layers.Flatten(input_shape=(8, 8, 1)), layers.Dense(10)])


HELD = {
    "a classifier": (lambda: classifier(), "which holds one; pass its attribute net"),
    "of Keras 2": (of_keras_2, r"one of Keras 2 \(tf_keras\); save it by net.save\('net.h5'\)"),
    "two inputs": (of_two_inputs, "one input, images, received 2; make one"),
    "several outputs": (of_a_list, "with one output"),
    "a vector": (lambda: sequential((64,)), "received (one of )?input shape"),
}
NETS = {
    **HELD,
    "unbuilt": (Subclassed, "call it on a batch of images"),
    "a dict, subclassed": (lambda: called(Subclassed(named=True)), "logits, x; choose one"),
    "no channel": (lambda: sequential((8, 8), L.Flatten()), "gives its images a channel"),
    "of any size": (lambda: sequential((None, None, 1), L.GlobalMaxPooling2D()), "of one size.*; build it on"),
    "one place": (lambda: sequential((8, 8, 1), L.Conv2D(4, 8)), "takes that one place"),
    "many places": (lambda: sequential((8, 8, 1)), "end it with a pooling"),
    "sparsemax": (lambda: sequential((8, 8, 1), L.Flatten(), L.Dense(4), L.Activation("sparsemax")), None),
}


class TestNets:
    @pytest.mark.parametrize("kind", NETS)
    def test_in_training(self, kind):
        make, message = NETS[kind]
        if message is None:
            classifier(make())
            return
        with pytest.raises(ValueError, match=message) as refused:
            classifier(make())
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("kind", HELD)
    def test_of_logits(self, kind):
        make, message = HELD[kind]
        with pytest.raises(ValueError, match=message):
            jt.as_logits(make())

    @pytest.mark.parametrize("kind", ["two inputs", "several outputs", "a vector"])
    def test_under_attack(self, kind):
        with pytest.raises(ValueError, match=HELD[kind][1]) as refused:
            ATTACK.against(HELD[kind][0](), X, Y)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda net: net.predict, "runs in a graph.*pass a Keras model itself"),
            (lambda net: lambda x: net(x).numpy(), "runs in a graph.*AttributeError"),
            (lambda net: lambda x: np.zeros((24, 10), np.float32), "a tensor, received a NumPy array"),
            (lambda net: lambda x: tf.argmax(net(x), -1), r"logits of shape \[B, K\]"),
            (lambda net: lambda x, training: net(x), "missing 1 required"),
        ],
    )
    def test_functions_under_attack(self, make, message):
        with pytest.raises(ValueError, match=message) as refused:
            ATTACK.against(make(linear_net()), X, Y)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("net", ["net.keras", None, 3])
    def test_that_are_none(self, net):
        with pytest.raises(TypeError, match="expected a net, .* load a file by keras.saving.load_model"):
            ATTACK.against(net, X, Y)

    def test_through_which_no_gradient_goes_are_a_word(self):
        net = linear_net()
        with pytest.warns(UserWarning, match=r"no gradient of the net reaches its images.*attacks.bpda\(net"):
            ATTACK.against(lambda x: tf.cast(1000 * net(x), tf.int32), X, np.argmax(net(X), -1))

    def test_in_a_dict_of_one(self):
        images = keras.Input((8, 8, 1))
        logits = L.Dense(10)(L.Flatten()(images))
        net = keras.Model(images, {"logits": logits})
        with pytest.raises(ValueError, match="as_logits.net, output='logits'"):
            classifier(net)
        for made in (jt.as_logits(net), jt.as_logits(net, output="logits")):
            np.testing.assert_array_equal(made(X), net(X)["logits"])

    @pytest.mark.parametrize("settings", [{}, {"pixels": "0..255", "mean": [10.0], "std": [50.0]}])
    def test_without_a_channel(self, settings):
        net = sequential((8, 8), L.Flatten())
        made = jt.as_logits(net, **settings)
        assert made.input_shape == (None, 8, 8, 1)
        np.testing.assert_allclose(made(X), net((255 * X[..., 0] - 10) / 50 if settings else X[..., 0]), atol=1e-4)
        np.testing.assert_array_equal(ATTACK.against(net, X, Y).correct, np.argmax(net(X[..., 0]), -1) == Y)

    @pytest.mark.parametrize(("shape", "message"), [((8, 8), ""), ((64,), "layer that reshapes them")])
    def test_without_a_channel_are_watched(self, shape, message):
        net = sequential(shape, L.Flatten())
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        images, watch = X.reshape(24, *shape), RobustAccuracy(X, Y, jt.attacks.PGD(jt.Linf(0.0), steps=1))
        if message:
            with pytest.raises(ValueError, match=message):
                net.fit(images, Y, callbacks=[watch], verbose=0)
        else:
            found = net.fit(images, Y, callbacks=[watch], verbose=0).history["val_robust_accuracy"][0]
            assert found == pytest.approx(np.mean(np.argmax(net(images), -1) == Y))

    def test_that_end_in_sparsemax(self):
        net = sequential((8, 8, 1), L.Flatten())
        ended = keras.Sequential([net, L.Activation("sparsemax")])
        with pytest.raises(ValueError, match="ends in sparsemax"):
            ATTACK.against(ended, X, Y)
        np.testing.assert_array_equal(jt.as_logits(ended)(X), net(X))

    def test_called_with_bytes(self):
        with pytest.raises(ValueError, match="received uint8; divide integer images by 255"):
            classifier()((255 * X).astype(np.uint8))

    def test_where_keras_computes_in_float64(self):
        keras.config.set_floatx("float64")
        try:
            net = linear_net()
            logits = classifier(net).predict(X.astype(np.float64), verbose=0)
            np.testing.assert_array_equal(ATTACK.against(net, X, Y).correct, logits.argmax(-1) == Y)
            history = classifier(net).fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(24), verbose=0).history
        finally:
            keras.config.set_floatx("float32")
        assert np.isfinite(history["loss"]).all()

    def test_whose_probabilities_are_multiplied(self):
        net = linear_net()
        scaled = keras.Sequential([net, L.Softmax(), L.Rescaling(5.0)])
        with pytest.raises(ValueError, match=r"probabilities \(outputs are not negative and sum to 5\)"):
            ATTACK.against(scaled, X, Y)
        np.testing.assert_array_equal(ATTACK.against(jt.as_logits(scaled), X, Y).correct, np.argmax(net(X), -1) == Y)
        check_logits(np.tile([[0.0, 2.0, 3.0]], (4, 1)))  # a net that gives all images the same is no softmax

    def test_in_a_ball_without_an_end(self):
        with pytest.raises(ValueError, match="finite radius for apgd-ce, received inf"):
            jt.attacks.AutoAttack(jt.L2(float("inf")), version="fast")(linear_net(), X, Y)


SETTINGS = {
    "restarts": (lambda: ATTACK.against(linear_net(), X, Y, restarts=0), "restarts of at least 1, received 0"),
    "batch size": (lambda: ATTACK.against(linear_net(), X, Y, batch_size=0), "batch_size, a whole number of at least"),
    "seed": (lambda: ATTACK.against(linear_net(), X, Y, seed="a"), "a seed, an int or two of them, received 'a'"),
    "seed of a classifier": (lambda: jt.EnergyClassifier(linear_net(), Standard(), seed="a"), "seed, an int"),
    "every": (lambda: RobustAccuracy(X, Y, ATTACK, every=0), "whole number of epochs of at least 1, received 0"),
    "attack": (lambda: RobustAccuracy(X, Y, "pgd"), "an attack such as .*, received 'pgd'"),
    "attack of an edit": (lambda: translate(linear_net(), X, Y, attack=0.3), "an attack such as .*, received 0.3"),
    "ball": (
        lambda: counterfactual(linear_net(), X, Y, seed=0, chain=SGLD(1), within=0.3),
        r"a ball such as L2\(3\) or None, received 0.3",
    ),
    "threshold": (
        lambda: counterfactual(linear_net(), X, Y, seed=0, chain=SGLD(1), threshold=-1),
        r"threshold in \[0, 1\], received -1",
    ),
    "mask": (
        lambda: inpaint(linear_net(), X, np.ones((8, 8)), None, seed=0, chain=SGLD(1)),
        r"shape \[24, 8, 8, 1\], received \[8, 8\]; pass np.broadcast_to",
    ),
    "judge": (lambda: judge(lambda x: x), "a judge, a Keras net, received function"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_mean_nothing(name):
    make, message = SETTINGS[name]
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_seed_is_a_number_everywhere():
    net = linear_net()
    found = [autoattack(net, X, Y, seed=seed, ball=jt.Linf(0.05), attacks=["apgd-ce"]) for seed in (3, [0, 3])]
    np.testing.assert_array_equal(found[0].x_adv, found[1].x_adv)
