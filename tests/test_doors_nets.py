"""What enters, and what a net gives: right, or refused with the way out. No door is left without a look."""

import importlib.util
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks import ensemble, plans
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.orders import by_malt
from jeat_tf.attacks.search import Found
from jeat_tf.core.checks import admit
from jeat_tf.core.energy import energy_model
from jeat_tf.core.logits import check_logits, head_of
from jeat_tf.methods.callbacks import RobustAccuracy
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.metrics import chain_diagnostics, confidence, diversity, features, fisher, neighbours, ood, scores
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.start_layer import uniform
from tests.conftest import linear_net, tiny_cnn

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "attack_any_keras_model.py"
RNG = np.random.default_rng(0)
X = RNG.random((32, 8, 8, 1), np.float32)
Y = np.arange(32) % 10
BYTES = (X * 255).astype(np.uint8)
ATTACK = jt.attacks.PGD(jt.Linf(0.1), steps=1)


def classifier(net=None):
    keras.utils.set_random_seed(0)
    model = jt.EnergyClassifier(net or linear_net(), Standard())
    model.compile("sgd", metrics=["accuracy"])
    return model


def ending(head: str, **kwargs) -> keras.Model:
    net = tiny_cnn()
    return keras.Model(net.inputs, keras.layers.Activation(head, **kwargs)(net.outputs[0]))


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, *others):
        super().__init__()
        self.parts = (x, y, *others)

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return tuple(part[16 * i : 16 * i + 16] for part in self.parts)


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts).batch(16)


def generator(*parts):
    return (tuple(part[i : i + 16] for part in parts) for i in (0, 16))


KINDS = {
    "arrays": lambda x, y: (x, y),
    "dataset": lambda x, y: (dataset(x, y),),
    "PyDataset": lambda x, y: (Batches(x, y),),
    "generator": lambda x, y: (generator(x, y),),
}


class TestTypes:
    """Any integer labels and any float images train as int32 and float32 do."""

    @pytest.mark.parametrize(
        ("kind", "images", "labels"),
        [
            ("arrays", "float32", ">i4"),
            ("arrays", "float64", "uint8"),
            ("dataset", "float64", "uint8"),
            ("dataset", "float16", "uint16"),
            ("PyDataset", "float64", "int8"),
            ("generator", "float16", "int64"),
        ],
    )
    def test_train_and_measure_alike(self, kind, images, labels):
        x = X.astype(images)
        wanted, given = classifier(), classifier()
        wanted.fit(*KINDS[kind](x.astype(np.float32), Y.astype(np.int32)), verbose=0, shuffle=False)
        given.fit(*KINDS[kind](x, Y.astype(labels)), verbose=0, shuffle=False)
        for a, b in zip(wanted.weights, given.weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        found = given.evaluate(*KINDS[kind](x, Y.astype(labels)), verbose=0, return_dict=True)
        logits = given.predict(*KINDS[kind](x, Y)[:1], verbose=0)
        np.testing.assert_allclose(logits, given.net(x.astype(np.float32)), atol=1e-6)
        assert found["accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == Y))

    def test_labels_of_one_column_are_read_with_a_word(self):
        with pytest.warns(UserWarning, match=r"labels\[:, 0\]"):
            images, labels = admit(X.astype(np.float64), Y[:, None], 10)
        assert (images.dtype, labels.dtype, labels.shape) == (np.float32, np.int32, (32,))
        one, other = classifier(), classifier()
        with pytest.warns(UserWarning, match="read as"):
            one.fit(dataset(X, Y[:, None]), verbose=0)
        other.fit(dataset(X, Y), verbose=0)
        np.testing.assert_array_equal(one.net.get_weights()[0], other.net.get_weights()[0])

    def test_batches_by_name_as_tfds_gives_them(self):
        by_name = tf.data.Dataset.from_tensor_slices({"image": X, "label": Y, "id": Y}).batch(16)
        one, other = classifier(), classifier()
        one.fit(by_name, verbose=0)
        other.fit(dataset(X, Y), verbose=0)
        np.testing.assert_array_equal(one.net.get_weights()[0], other.net.get_weights()[0])
        strange = tf.data.Dataset.from_tensor_slices({"pixels": X, "label": Y}).batch(16)
        with pytest.raises(ValueError, match='"image" and "label".*received a dict with pixels, label'):
            classifier().fit(strange, verbose=0)
        weighted = tf.data.Dataset.from_tensor_slices({"image": X, "label": Y, "weights": Y}).batch(16)
        with pytest.raises(ValueError, match="no weights"):
            classifier().fit(weighted, verbose=0)

    def test_robust_accuracy_takes_any_types(self):
        callback = RobustAccuracy(X.astype(np.float64), Y.astype(np.uint8), ATTACK)
        history = classifier().fit(X, Y, verbose=0, callbacks=[callback]).history
        assert 0 <= history["val_robust_accuracy"][0] <= 1

    def test_robust_accuracy_is_of_the_model_and_not_of_a_net_inside(self):
        class Headed(keras.Model):
            def __init__(self):
                super().__init__()
                self.net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16)])
                self.top = keras.layers.Dense(10)

            def call(self, x):
                return self.top(self.net(x))

        model = Headed()
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        callback = RobustAccuracy(X, Y, jt.attacks.PGD(jt.Linf(0.0), steps=1))
        found = model.fit(X, Y, verbose=0, callbacks=[callback]).history["val_robust_accuracy"][0]
        assert found == pytest.approx(np.mean(np.argmax(model(X), -1) == Y))


REFUSED = {
    "bytes": (BYTES, Y, "divide integer images by 255"),
    "0..255": (X * 255, Y, "divide by 255"),
    "normalised": (X * 2 - 1, Y, "layer inside the net"),
    "NaN": (np.where(X > 0.5, np.nan, X).astype(np.float32), Y, "NaN"),
    "NCHW": (np.moveaxis(X.repeat(3, -1), -1, 1), Y, "as the net takes"),
    "of another size": (X[:, :4], Y, "as the net takes"),
    "one-hot": (X, np.eye(10, dtype=int)[Y], "argmax"),
    "classes that are none": (X, Y + 10, "10 logits"),
    "float labels": (X, Y.astype(np.float32), r"astype\(int\)"),
}


class TestRefused:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("what", REFUSED)
    def test_at_fit_and_evaluate(self, kind, what):
        x, y, message = REFUSED[what]
        for verb in ("fit", "evaluate"):
            with pytest.raises(ValueError, match=message):
                getattr(classifier(), verb)(*KINDS[kind](x, y), verbose=0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_at_validation_and_predict(self, kind):
        given = KINDS[kind](BYTES, Y)
        with pytest.raises(ValueError, match="divide integer images by 255"):
            classifier().fit(X, Y, validation_data=given if kind == "arrays" else given[0], verbose=0)
        with pytest.raises(ValueError, match="divide by 255"):
            classifier().predict(KINDS[kind](X * 255, Y)[0], verbose=0)

    @pytest.mark.parametrize("kind", ["dataset", "PyDataset", "generator"])
    def test_in_a_later_batch_too(self, kind):
        late = np.concatenate([X[:16], X[16:] * 255])
        with pytest.raises(ValueError, match=r"images in \[0, 1\]"):
            classifier().fit(*KINDS[kind](late, Y), verbose=0)
        wrong = np.concatenate([Y[:16], Y[16:] + 10])
        with pytest.raises(ValueError, match=r"labels in 0\.\.9"):
            classifier().fit(*KINDS[kind](X, wrong), verbose=0)

    def test_batch_by_batch(self):
        for verb in ("train_on_batch", "test_on_batch"):
            with pytest.raises(ValueError, match="divide integer images by 255"):
                getattr(classifier(), verb)(BYTES, Y)
        with pytest.raises(ValueError, match="divide by 255"):
            classifier().predict_on_batch(X * 255)

    def test_weights_of_samples_are_never_ignored(self):
        weights = np.ones(32, np.float32)
        for call in (
            lambda m: m.fit(X, Y, sample_weight=weights),
            lambda m: m.fit(dataset(X, Y, weights)),
            lambda m: m.fit(Batches(X, Y, weights)),
            lambda m: m.fit(generator(X, Y, weights)),
            lambda m: m.fit(X, Y, validation_data=(X, Y, weights)),
            lambda m: m.fit(X, Y, validation_data=dataset(X, Y, weights)),
            lambda m: m.evaluate(X, Y, sample_weight=weights),
            lambda m: m.evaluate(Batches(X, Y, weights)),
            lambda m: m.train_on_batch(X, Y, sample_weight=weights),
        ):
            with pytest.raises(ValueError, match="weight"):
                call(classifier())

    def test_what_is_no_kind_of_data(self):
        with pytest.raises(ValueError, match="received int"):
            classifier().fit(3, Y)
        with pytest.raises(ValueError, match="no y"):
            classifier().fit(dataset(X, Y), Y)


def test_an_export_of_the_classifier_says_what_to_export(tmp_path):
    model = classifier()
    model.fit(X, Y, verbose=0)
    with pytest.raises(NotImplementedError, match=r"`model.net.export\(path\)`"):
        model.export(tmp_path / "exported")


def test_a_net_that_was_built_outside_the_scope_is_refused():
    net = linear_net()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        with pytest.raises(ValueError, match="built outside; build the net inside the scope"):
            jt.EnergyClassifier(net, Standard())
        jt.EnergyClassifier(linear_net(), Standard())


def test_pictures_do_not_depend_on_the_image_data_format():
    keras.config.set_image_data_format("channels_first")
    try:
        picture = jt.show(np.zeros((2, 40, 24, 3), np.float32))
    finally:
        keras.config.set_image_data_format("channels_last")
    assert picture.size == jt.show(np.zeros((2, 40, 24, 3), np.float32)).size


def test_a_net_in_float16_under_attack_gives_a_word():
    images = keras.Input((8, 8, 1))
    net = keras.Model(images, keras.layers.Dense(10, dtype="mixed_float16")(keras.layers.Flatten()(images)))
    with pytest.warns(UserWarning, match="computes in float16.*as_logits"):
        ATTACK.against(net, X, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*float16.*")
        ATTACK.against(jt.as_logits(net), X, Y)


@pytest.mark.parametrize("kind", [pytest.param("float32", marks=pytest.mark.slow), "uint8"])
def test_the_example_takes_bytes_and_floats(kind, trained_net, digit_arrays, tmp_path):
    x, y = digit_arrays[0][:30], digit_arrays[1][:30]
    trained_net.save(tmp_path / "net.keras")
    np.savez(tmp_path / "a.npz", images=x if kind == "float32" else (255 * x).round().astype(np.uint8), labels=y)
    spec = importlib.util.spec_from_file_location("example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main(str(tmp_path / "net.keras"), str(tmp_path / "a.npz"), 0.01).clean_accuracy > 0.9


PROBABILITIES = {"softmax": {}, "sigmoid": {}, "log_softmax": {}, "float16": {"dtype": "float16"}}


def of_probabilities(name: str) -> keras.Model:
    head = name if name in ("softmax", "sigmoid", "log_softmax") else "softmax"
    return ending(head, **PROBABILITIES[name])


class Hidden(keras.Model):
    """A subclassed net, whose last activation no graph shows."""

    def __init__(self, head):
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(10, activation=head)

    def call(self, x, training=False):
        return self.dense(self.flat(x))


class TestLogits:
    @pytest.mark.parametrize("name", PROBABILITIES)
    def test_a_head_is_seen_when_a_net_is_given(self, name):
        net = of_probabilities(name)
        for call in (
            lambda: jt.EnergyClassifier(net, Standard()),
            lambda: energy_model(net),
            lambda: generate(net, [0, 1], start=uniform((8, 8, 1)), stages=[]),
            lambda: ood.ood_scores(net, X),
            lambda: fisher.fisher_score(net, X),
            lambda: features.classifier(net),
        ):
            with pytest.raises(ValueError, match=r"as_logits\(net\)"):
                call()

    def test_it_is_seen_through_what_follows_and_inside_nested_nets(self):
        inner = ending("softmax")
        nested = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Activation("linear", dtype="float32")])
        inputs = keras.Input((8, 8, 1))
        by_operation = keras.Model(inputs, keras.ops.softmax(tiny_cnn()(inputs)))
        masked = keras.Model(inputs, keras.layers.Softmax()(tiny_cnn()(inputs), mask=np.arange(10)[None] < 5))
        for net in (nested, by_operation, masked):
            assert head_of(net).activation == "softmax"
        assert head_of(tiny_cnn()).activation == "linear"
        assert head_of(ending("relu")).activation == "linear"

    @pytest.mark.parametrize("head", ["softmax", "log_softmax"])
    def test_outputs_show_what_a_graph_hides(self, head):
        net = Hidden(head)
        net(X[:1])
        for call in (lambda m: m.fit(X, Y, verbose=0), lambda m: m.evaluate(X, Y), lambda m: m.energy(X)):
            model = jt.EnergyClassifier(net, Standard())
            model.compile("sgd")
            with pytest.raises(ValueError, match=r"as_logits\(net\)"):
                call(model)
        with pytest.raises(ValueError, match=r"as_logits\(net\)"):
            generate(net, [0, 1], start=uniform((8, 8, 1)), stages=[])

    def test_a_hidden_sigmoid_gives_a_word(self):
        net = Hidden("sigmoid")
        with pytest.warns(UserWarning, match="sigmoid"):
            ATTACK.against(net, X, Y)

    @pytest.mark.parametrize("dtype", [np.float16, tf.bfloat16.as_numpy_dtype, np.float32])
    def test_probabilities_in_any_precision(self, dtype):
        p = np.asarray(tf.nn.softmax(3 * RNG.normal(size=(20, 1000)))).astype(dtype)
        with pytest.raises(ValueError, match="probabilities"):
            check_logits(p)
        check_logits(np.log(p.astype(np.float32) + 1e-30))  # for verdicts log-probabilities are as good
        with pytest.raises(ValueError, match="log-probabilities"):
            check_logits(np.log(p.astype(np.float64) + 1e-300), energies=True)

    def test_outputs_that_are_no_single_tensor(self):
        model = energy_model(tiny_cnn())
        with pytest.raises(ValueError, match=r"received logits, energy, joint_energy.*output='logits'"):
            ATTACK.against(model, X, Y)
        one = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
        with pytest.raises(ValueError, match="one output for two classes"):
            ATTACK.against(one, X, Y % 2)
        with pytest.raises(ValueError, match="one output for two classes"):
            jt.EnergyClassifier(one, Standard())

    def test_a_calibration_of_probabilities_is_refused(self):
        with pytest.raises(ValueError, match="probabilities"):
            confidence.calibration(np.full((4, 5), 0.2), np.zeros(4, int))


class TestMeasures:
    """Every measure takes any float images and any integer labels, and refuses 0..255."""

    CALLS = {
        "attack": lambda net, x, y: ATTACK.against(net, x, y).unbroken,
        "ood": lambda net, x, y: ood.ood_scores(net, x)["max_logit"],
        "fisher": lambda net, x, y: np.array(
            fisher.fisher_score(net, x[:4], y[:4], trace=fisher.piecewise_linear_trace).score
        ),
        "ssim": lambda net, x, y: diversity.within_class_ssim(x, y, seed=[0, 0]).per_class,
        "nearest": lambda net, x, y: neighbours.nearest_l2(x[:4], x[4:], k=1).distances,
        "collapse": lambda net, x, y: np.array(chain_diagnostics.collapse(x, y, x, y)[:3]),
        "agreement": lambda net, x, y: np.array(scores.agreement(net, x, y)),
        "start": lambda net, x, y: _adapted(x, y),
        "features": lambda net, x, y: features.classifier(net).of(x)[0],
    }

    @pytest.mark.parametrize("name", CALLS)
    def test_types(self, name):
        net, call = tiny_cnn(), self.CALLS[name]
        x = X.astype(np.float16)
        wanted = call(net, x.astype(np.float32), Y.astype(np.int32))
        np.testing.assert_allclose(call(net, x.astype(np.float64), Y.astype(np.uint8)), wanted, rtol=1e-5)
        np.testing.assert_allclose(call(net, x, Y.astype(np.int16)), wanted, rtol=1e-5)
        for bad in (BYTES, X * 255):
            with pytest.raises(ValueError, match="by 255"):
                call(net, bad, Y)


def _adapted(x, y):
    layer = jt.samplers.ClassGaussians().layer((8, 8, 1), 10)
    layer.adapt(x, y)
    return layer.means.numpy()


class TestScaledLosses:
    """What reads gradients under loss scaling reads those of the loss, and an overflow does no lasting harm."""

    UPDATES = {
        "descent": lambda: None,
        "awp": lambda: jt.methods.AWP(0.01),
        "sam": lambda: jt.methods.SAM(0.05),
        "free": lambda: jt.methods.Free(jt.Linf(0.1), batch_size=32),
    }

    @pytest.mark.parametrize("update", UPDATES)
    def test_norms_and_steps_are_those_of_the_loss(self, update):
        def norms(scale):
            keras.utils.set_random_seed(0)
            model = jt.EnergyClassifier(linear_net(), Standard(), self.UPDATES[update]())
            inner = keras.optimizers.SGD(0.1)
            model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=scale) if scale else inner)
            history = model.fit(X, Y, batch_size=32, epochs=3, shuffle=False, verbose=0).history
            return history["gradient_norm"], model.net.get_weights()[0]

        (plain, weights), (scaled, same) = norms(0), norms(2.0**10)
        np.testing.assert_allclose(scaled, plain, rtol=1e-4)
        np.testing.assert_allclose(same, weights, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("update", UPDATES)
    @pytest.mark.parametrize("scale", [0, 2.0**10])
    def test_a_weight_that_the_loss_does_not_depend_on_stays(self, update, scale):
        class Unused(keras.layers.Layer):
            def build(self, shape):
                self.weight = self.add_weight(shape=(3, 2), name="weight")

            def call(self, x):
                return x

        layers = [keras.layers.Flatten(), Unused(), keras.layers.Dense(10)]
        net = keras.Sequential([keras.Input(X.shape[1:]), *layers])
        before = net.get_weights()
        model = jt.EnergyClassifier(net, Standard(), self.UPDATES[update]())
        inner = keras.optimizers.SGD(0.1)
        model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=scale) if scale else inner)
        model.fit(X, Y, batch_size=32, epochs=1, verbose=0)
        same = [np.array_equal(a, b) for a, b in zip(net.get_weights(), before, strict=True)]
        assert same == [True, False, False]

    @pytest.mark.parametrize("update", UPDATES)
    def test_an_overflow_leaves_no_nan(self, update):
        model = jt.EnergyClassifier(tiny_cnn(), Standard(), self.UPDATES[update]())
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=3e38)
        model.compile(scaled)
        history = model.fit(X, Y, batch_size=32, epochs=3, verbose=0, callbacks=[jt.callbacks.Guard()]).history
        assert np.isfinite(history["loss"]).all()
        assert np.isfinite(history["gradient_norm"]).all()
        assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize(("classes", "ranked"), [(12, 11), (150, 100)])
def test_every_gradient_of_autoattack_is_counted(classes, ranked):
    seen = []

    @tf.custom_gradient
    def spy(x):
        def back(dy):
            counted = tf.py_function(lambda d: (seen.append(len(d)), d)[1], [dy], tf.float32)
            counted.set_shape(dy.shape)
            return counted

        return tf.identity(x), back

    net = tiny_cnn(num_classes=classes)
    x = X[:3]
    y = np.argmax(net(x), -1)
    search = plans.Run("none", _standing, jt.Linf(1e-4), passes=0, target=0)
    plan = plans.Plan((search, search._replace(target=1)), by_malt)
    oracle = Oracle(lambda z: net(spy(z), training=False))
    logits = ensemble.clean_logits(oracle, x, y, 3)
    standing = ensemble.Standing(np.ones(3, bool))
    for _ in ensemble.run_in_order(oracle, plan, x, y, logits, standing, seed=[0, 0], batch_size=3):
        pass
    assert standing.gradients.tolist() == [ranked] * 3
    assert sum(seen) == 3 * ranked


def _standing(net, x, labels, *, seed, targets=None):
    """A search that does nothing."""
    none = np.zeros(len(x), np.int32)
    return Found(x_adv=x, broken=none.astype(bool), predicted=none, forwards=none, gradients=none)
