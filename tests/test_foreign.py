"""A net from elsewhere becomes a net of images in [0, 1] -> logits: the same answers, and a word for each change."""

import errno
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.core.energy import energy_model
from jeat_tf.methods.callbacks import averaged
from jeat_tf.models.foreign import adapted
from jeat_tf.models.precision import in_bfloat16, in_float32
from jeat_tf.models.stored import check_storable, check_stored
from jeat_tf.models.tracking import check_tracked

L = keras.layers
X = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)


def body(k=10, activation=None, dtype=None, inputs="float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1), dtype=inputs)
    hidden = L.Flatten(dtype=dtype)(L.BatchNormalization(dtype=dtype)(L.Conv2D(4, 3, dtype=dtype)(images)))
    return keras.Model(images, L.Dense(k, activation=activation, dtype=dtype)(hidden))


def after(*layers, before=()) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 1)), *before, body(), *layers])


def operation() -> keras.Model:
    images = keras.Input((8, 8, 1))
    return keras.Model(images, keras.ops.softmax(body()(images)))


class Hidden(keras.Model):
    def __init__(self, last):
        super().__init__()
        self.inner, self.last = body(), last

    def call(self, x):
        return self.last(self.inner(x))


def hidden(last) -> keras.Model:
    net = Hidden(last)
    net(X)
    return net


HEADS = {
    "none": (lambda: body(), ()),
    "softmax": (lambda: body(activation="softmax"), ("exactly",)),
    "softmax layer": (lambda: after(L.Softmax()), ("exactly",)),
    "softmax in bfloat16": (lambda: after(L.Activation("softmax", dtype="bfloat16")), ("float32", "exactly")),
    "softmax in a nested net": (
        lambda: keras.Sequential([keras.Input((8, 8, 1)), body(activation="softmax"), L.Activation("linear")]),
        ("exactly",),
    ),
    "softmax as operation": (operation, ("exactly",)),
    "softmax in a Lambda": (lambda: after(L.Lambda(tf.nn.softmax)), ("by a logarithm",)),
    "softmax that is hidden": (lambda: hidden(tf.nn.softmax), ("by a logarithm",)),
    "softmax twice": (lambda: after(L.Softmax(), L.Softmax()), ("exactly", "exactly")),
    "softmax and a factor": (lambda: after(L.Softmax(), L.Rescaling(3.0)), ("by a logarithm",)),
    "sigmoids": (lambda: body(activation="sigmoid"), ("exactly", "separate classes")),
    "sigmoids that are hidden": (lambda: hidden(tf.nn.sigmoid), ("by a logarithm", "separate classes")),
    "log-softmax": (lambda: body(activation="log_softmax"), ("exactly",)),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_logits_are_those_before_the_head(name):
    make, said = HEADS[name]
    net, changes = adapted(make())
    assert len(changes) == len(said)
    assert all(word in change for word, change in zip(said, changes, strict=True))
    logits, wanted = net(X), body()(X)
    np.testing.assert_allclose(logits - logits[:, :1], wanted - wanted[:, :1], atol=1e-5)


def test_a_net_of_logits_is_returned_itself():
    net = body()
    assert jt.as_logits(net) is net


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_becomes_two_logits(activation):
    z = body(1)(X)
    np.testing.assert_allclose(jt.as_logits(body(1, activation))(X), np.concatenate([0 * z, z], 1), atol=1e-6)


def test_a_mask_leaves_its_classes_out():
    images = keras.Input((8, 8, 1))
    net = keras.Model(images, L.Softmax()(body()(images), mask=np.arange(10)[None] < 5))
    logits = jt.as_logits(net)(X).numpy()
    np.testing.assert_allclose(tf.nn.softmax(logits), net(X), atol=1e-6)
    assert logits[:, 5:].max() < -1e8


@pytest.mark.parametrize(
    ("settings", "move"),
    [
        ({"pixels": "0..255"}, lambda x: 255 * x),
        ({"pixels": "-1..1"}, lambda x: 2 * x - 1),
        ({"mean": 0.4, "std": [0.2]}, lambda x: (x - 0.4) / 0.2),
        ({"pixels": "0..255", "mean": [100.0], "std": 2}, lambda x: (255 * x - 100) / 2),
    ],
)
def test_normalisation_goes_inside(settings, move):
    net, changes = adapted(body(), **settings)
    np.testing.assert_allclose(net(X), body()(move(X)), rtol=1e-5, atol=1e-5)
    assert len(changes) == 1


def test_gradients_reach_the_images_of_a_net_of_bytes():
    net, changes = adapted(body(inputs="uint8"), pixels="0..255")
    np.testing.assert_allclose(net(X), body()(255 * X), rtol=1e-5, atol=1e-4)
    assert "uint8" in changes[0]
    with tf.GradientTape() as tape:
        images = tf.constant(X)
        tape.watch(images)
        logits = net(images)
    assert np.any(tape.gradient(logits, images))


class Opaque(keras.Model):
    """A net whose last layer no graph shows: `scale` times its outputs, after `head`."""

    def __init__(self, units, scale, head=None, keepdims=False):
        super().__init__()
        self.body = keras.Sequential(
            [keras.layers.Conv2D(units, 3), keras.layers.GlobalAveragePooling2D(keepdims=keepdims)]
        )
        self.scale, self.head = scale, head or (lambda x: x)

    def call(self, x, training=False):
        return self.head(self.scale * self.body(x))


@pytest.mark.parametrize("keepdims", [False, True])
def test_raw_outputs_of_a_net_that_no_graph_shows_are_its_logits(keepdims):
    keras.utils.set_random_seed(0)
    net = Opaque(10, 30.0, keepdims=keepdims)
    raw = np.asarray(net(X)).reshape(len(X), 10)
    np.testing.assert_allclose(jt.as_logits(net)(X), raw, rtol=1e-5)


def test_one_raw_output_that_no_graph_shows_becomes_two_logits():
    keras.utils.set_random_seed(0)
    net = Opaque(1, 100.0)
    z = np.asarray(net(X))[:, 0]
    np.testing.assert_allclose(jt.as_logits(net)(X), np.stack([0 * z, z], 1), rtol=1e-5)


@pytest.mark.parametrize("head", [keras.ops.sigmoid, lambda z: 0.5 + 1e-3 * z])
def test_one_output_between_0_and_1_that_no_graph_shows_may_be_either(head):
    keras.utils.set_random_seed(0)
    net = Opaque(1, 1.0, head)
    z = np.asarray(net(X))[:, 0]
    with pytest.raises(ValueError, match="what the net's one output is.*set head to sigmoid, or to logits"):
        jt.as_logits(net)
    np.testing.assert_allclose(jt.as_logits(net, head="logits")(X)[:, 1], z, rtol=1e-5)
    two = np.asarray(jt.as_logits(net, head="sigmoid")(X))
    np.testing.assert_allclose(two[:, 1] - two[:, 0], np.log(z / (1 - z)), atol=1e-4)


def test_an_output_is_chosen_by_name_or_place():
    net = energy_model(body())
    with pytest.raises(ValueError, match="energy, joint_energy, logits; choose one"):
        jt.as_logits(net)
    for output in ("logits", 0, "0"):
        made, changes = adapted(net, output=output)
        np.testing.assert_array_equal(made(X), body()(X))
        assert '"logits" was taken' in changes[0]
    with pytest.raises(ValueError, match="received 'logit'"):
        jt.as_logits(net, output="logit")


def test_what_it_makes_is_a_plain_keras_file(tmp_path):
    net = jt.as_logits(after(L.Softmax(), before=[L.Rescaling(1 / 255)]), pixels="0..255")
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    np.testing.assert_array_equal(again(X), net(X))
    np.testing.assert_allclose(net(X), body()(X), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixels": "0-255"}, "received '0-255'"),
        ({"head": "soft"}, "received 'soft'"),
        ({"std": 0.0}, "std > 0"),
        ({"mean": [1, 2, 3]}, "one number or 1"),
        ({"head": "softmax"}, "may be no softmax"),
        ({"mean": "a"}, "expected mean, one number or 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        jt.as_logits(body(), **settings)
    with pytest.raises(ValueError, match="received function"):
        jt.as_logits(lambda x: x)


class TestCopies:
    def test_a_half_precision_net_gets_a_copy_in_float32(self):
        changes: list[str] = []
        net = body(dtype="mixed_float16")
        copy = in_float32(net, changes)
        assert copy(X).dtype == "float32"
        np.testing.assert_allclose(copy(X), tf.cast(net(X), tf.float32), atol=0.02)
        assert "float16" in changes[0]
        assert in_float32(copy) is copy

    def test_adapted_normalisation_and_operations_are_copied(self):
        images = keras.Input((8, 8, 1))
        norm = L.Normalization()
        norm.adapt(X)
        net = keras.Model(images, L.Dense(10)(L.Flatten()(norm(images * 2.0 - 0.5) + 1.0)))
        np.testing.assert_allclose(tf.cast(in_bfloat16(net)(X), tf.float32), net(X), atol=0.1)

    def test_a_copy_that_lost_something_is_refused(self):
        @keras.saving.register_keras_serializable("tests")
        class Forgetful(L.Layer):
            shift = 0.0

            def call(self, x):
                return x + self.shift

        layer = Forgetful()
        layer.shift = 5.0
        net = keras.Sequential([keras.Input((8, 8, 1)), layer, L.Flatten(), L.Dense(10)])
        with pytest.raises(ValueError, match="differ by"):
            in_bfloat16(net)

    def test_a_file_that_lost_something_is_refused(self, tmp_path):
        @keras.saving.register_keras_serializable("tests")
        class Shifted(L.Layer):
            shift = 0.0

            def call(self, x):
                return x + self.shift

        layer = Shifted()
        layer.shift = 5.0
        net = keras.Sequential([keras.Input((8, 8, 1)), layer, L.Flatten(), L.Dense(10)])
        with pytest.raises(ValueError, match="the net loaded from its file.*neither among its weights nor in its get_"):
            check_storable(net)
        (tmp_path / "net.keras").write_text("no net")
        with pytest.raises(ValueError, match="whose file cannot: .*register its layers"):
            check_stored(net, str(tmp_path / "net.keras"))

    def test_a_full_disk_is_not_the_nets_fault(self, monkeypatch):
        net = keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(10)])

        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(keras.Model, "save", full)
        with pytest.raises(OSError, match="No space left on device: '/.*'"):
            check_storable(net)

    @pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
    def test_a_net_that_is_stored_as_it_is_passes_and_no_random_state_moves(self, dtype):
        net = keras.Sequential([keras.Input((8, 8, 1)), body(dtype=dtype), L.GaussianNoise(0.1), L.Dropout(0.5)])
        random.seed(0)
        wanted = random.random()
        random.seed(0)
        check_storable(net)
        assert random.random() == wanted

    def test_the_average_is_what_is_stored(self, tmp_path):
        model = jt.EnergyClassifier(body(), jt.methods.Standard())
        model.compile(keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
        for _ in range(3):
            model.train_on_batch(X, np.arange(16) % 10)
        before = model.net(X).numpy()
        with averaged(model):
            model.net.save(tmp_path / "net.keras")
            check_stored(model.net, str(tmp_path / "net.keras"))
            assert np.abs(model.net(X) - before).max() > 1e-3
        np.testing.assert_array_equal(model.net(X), before)
        with pytest.raises(ValueError, match="differ by"):
            check_stored(model.net, str(tmp_path / "net.keras"))

    def test_weights_that_keras_does_not_track_are_refused(self):
        class Untracked(keras.Model):
            def __init__(self):
                super().__init__()
                self.flat, self.dense = L.Flatten(), L.Dense(10)
                self.scale = tf.Variable(2.0, name="scale")

            def call(self, x, training=False):
                return self.scale * self.dense(self.flat(x))

        net = Untracked()
        net(X)
        with pytest.raises(ValueError, match=r"scale.*neither trained nor saved"):
            check_tracked(net, X[:1])
        model = jt.EnergyClassifier(net, jt.methods.Standard())
        model.compile("sgd")
        with pytest.raises(ValueError, match="neither trained nor saved"):
            model.fit(X, np.arange(16) % 10, verbose=0)
