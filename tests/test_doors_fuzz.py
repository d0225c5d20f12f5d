"""Any net, any data, any door: the right value, or a refusal in one sentence. What is right, plain NumPy says."""

import functools
import itertools
import warnings

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks.ensemble import autoattack
from jeat_tf.core.energy import energy_model
from jeat_tf.methods.callbacks import RobustAccuracy
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.metrics import features, ood, scores
from jeat_tf.models.origin import Origin
from jeat_tf.models.precision import in_bfloat16, in_float32

L = keras.layers
K, SHAPE, N = 4, (6, 6, 1), 12
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(36, K)).astype(np.float32)
BIAS = RNG.normal(size=K).astype(np.float32)
X = RNG.random((N, *SHAPE), np.float32)
TOLERANCE = 2e-3


def logits_of(x):
    """What every net here gives for images in [0, 1]."""
    return np.asarray(x, np.float32).reshape(len(x), -1) @ WEIGHTS + BIAS


Y = logits_of(X).argmax(-1)  # right but for two, so that a wrong scale is a loss
Y[:2] = (Y[:2] + 1) % K


def dense(activation=None, dtype=None, width=K):
    layer = L.Dense(width, activation=activation, dtype=dtype)
    layer.build((None, 36))
    layer.set_weights([WEIGHTS[:, :width], BIAS[:width]])
    return layer


def sequential(*last, before=(), inputs="float32", **kwargs):
    return keras.Sequential([keras.Input(SHAPE, dtype=inputs), *before, L.Flatten(), dense(**kwargs), *last])


def functional(head, **named):
    images = keras.Input(SHAPE)
    logits = dense()(L.Flatten()(images))
    return keras.Model(images, head(logits) if not named else {k: make(logits) for k, make in named.items()})


class Hidden(keras.Model):
    def __init__(self, last):
        super().__init__()
        self.flat, self.dense, self.last = L.Flatten(), dense(), last

    def call(self, x, training=False):
        return self.last(self.dense(self.flat(x)))


def hidden(last):
    net = Hidden(last)
    net(X[:1])
    return net


class Untracked(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.dense, self.scale = L.Flatten(), dense(), tf.Variable(1.0)

    def call(self, x, training=False):
        return self.scale * self.dense(self.flat(x))


def untracked():
    net = Untracked()
    net(X[:1])
    return net


BYTES = L.Rescaling(1 / 255)
# name -> (net, settings of as_logits that are true of it; None where it is a net of logits as it is)
NETS = {
    "sequential": (sequential, None),
    "functional": (lambda: functional(lambda z: z), None),
    "nested": (lambda: keras.Sequential([keras.Input(SHAPE), sequential(), L.Activation("linear")]), None),
    "subclassed": (lambda: hidden(tf.identity), None),
    "with dropout": (lambda: sequential(L.Dropout(0.5)), None),
    "with an operation": (lambda: functional(lambda z: z * 1.0 + 0.0), None),
    "half precision": (lambda: sequential(dtype="mixed_float16"), {}),
    "bfloat16": (lambda: sequential(dtype="mixed_bfloat16"), {}),
    "softmax": (lambda: sequential(activation="softmax"), {}),
    "softmax layer": (lambda: sequential(L.Softmax()), {}),
    "softmax operation": (lambda: functional(keras.ops.softmax), {}),
    "softmax hidden": (lambda: hidden(tf.nn.softmax), {"head": "softmax"}),
    "softmax in half": (lambda: sequential(L.Activation("softmax", dtype="float16")), {}),
    "log-softmax": (lambda: sequential(activation="log_softmax"), {}),
    "sigmoid": (lambda: sequential(activation="sigmoid"), {}),
    "sigmoid hidden": (lambda: hidden(tf.nn.sigmoid), {"head": "sigmoid"}),
    "0..255": (lambda: sequential(before=[BYTES]), {"pixels": "0..255"}),
    "0..255 and softmax": (lambda: sequential(before=[BYTES], activation="softmax"), {"pixels": "0..255"}),
    "-1..1": (lambda: sequential(before=[L.Rescaling(0.5, 0.5)]), {"pixels": "-1..1"}),
    "normalised": (lambda: sequential(before=[L.Rescaling(0.3, 0.4)]), {"mean": 0.4, "std": 0.3}),
    "of bytes": (lambda: sequential(before=[BYTES], inputs="uint8"), {"pixels": "0..255"}),
    "two outputs": (lambda: functional(None, logits=lambda z: z, p=L.Softmax()), {"output": "logits"}),
    "a dict of energies": (lambda: energy_model(sequential()), {"output": "logits"}),
    "untracked": (untracked, None),
}
FOR_ENERGIES_TOO = ("log-softmax", "sigmoid", "softmax hidden")  # whose logits are known up to a number for each image

# name -> (images, whether they may enter)
IMAGES = {
    "float32": (X, True),
    "float64": (X.astype(np.float64), True),
    "float16": (X.astype(np.float16), True),
    "big-endian": (X.astype(">f4"), True),
    "Fortran": (np.asfortranarray(X), True),
    "strided": (np.repeat(X, 2, 0)[::2], True),
    "list": (X.tolist(), True),
    "tensor": (tf.constant(X), True),
    "bfloat16": (tf.cast(X, tf.bfloat16), True),
    "zeros and ones": (X.round(), True),
    "one image": (X[:1], True),
    "uint8": ((255 * X).astype(np.uint8), False),
    "int64": ((255 * X).astype(np.int64), False),
    "0..255": (255 * X, False),
    "-1..1": (2 * X - 1, False),
    "NaN": (np.where(X > 0.9, np.nan, X).astype(np.float32), False),
    "infinite": (np.where(X > 0.9, np.inf, X).astype(np.float32), False),
    "NCHW": (np.moveaxis(X, -1, 1), False),
    "without channels": (X[..., 0], False),
    "flat": (X.reshape(N, -1), False),
    "of another size": (np.repeat(X, 2, 1), False),
    "of three channels": (np.repeat(X, 3, -1), False),
    "none": (X[:0], False),
    "bool": (X > 0.5, False),
    "complex": (X.astype(np.complex64), False),
    "strings": (X.astype(str), False),
    "objects": (X.astype(object), False),
    "a dict": ({"image": X}, False),
    "None": (None, False),
}
LABELS = {
    "int64": (lambda y: y, True),
    "uint8": (lambda y: y.astype(np.uint8), True),
    "int16": (lambda y: y.astype(">i2"), True),
    "list": (lambda y: y.tolist(), True),
    "tensor": (lambda y: tf.constant(y, tf.int32), True),
    "column": (lambda y: y[:, None], True),
    "one-hot": (lambda y: np.eye(K, dtype=int)[y], False),
    "floats": (lambda y: y.astype(np.float32), False),
    "too large": (lambda y: y + K, False),
    "negative": (lambda y: y - K, False),
    "too few": (lambda y: y[: max(len(y) - 1, 0)], False),
    "too many": (lambda y: np.append(y, 0), False),
    "strings": (lambda y: y.astype(str), False),
    "None": (lambda y: None, False),
}


class Batches(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        if any(part is None or isinstance(part, dict) for part in parts) or len({len(part) for part in parts}) > 1:
            raise TypeError("expected parts of one length")
        self.parts = parts

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return tuple(part[6 * i : 6 * i + 6] for part in self.parts)


CONTAINERS = {
    "arrays": lambda x, y: (x, y),
    "dataset": lambda x, y: (tf.data.Dataset.from_tensor_slices((x, y)).batch(6),),
    "PyDataset": lambda x, y: (Batches(x, y),),
    "generator": lambda x, y: ((part for part in [(x, y)]),),
}


def classifier(net, rate=0.0):
    model = jt.EnergyClassifier(net, Standard())
    model.compile(keras.optimizers.SGD(rate), metrics=["accuracy"])
    return model


def attacked(found, x, y):
    np.testing.assert_array_less(np.abs(np.asarray(found.x_adv) - x).max(), 0.02 + 1e-6)
    return found


def in_fit(container, net, x, y):
    history = classifier(net).fit(*CONTAINERS[container](x, y), verbose=0, shuffle=False).history
    return history["loss"][-1]


def robust_in_fit(net, x, y):
    attack = jt.attacks.PGD(jt.Linf(0.0), steps=1)
    callback = RobustAccuracy(x, y, attack)
    return classifier(net).fit(X, Y, verbose=0, callbacks=[callback]).history["val_robust_accuracy"][0]


def stored(net, x, y):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            net.save(f"{folder}/net.keras")
        except NotImplementedError as error:
            raise ValueError("expected a net that Keras can store") from error
        return Origin().read(f"{folder}/net.keras").net(np.asarray(x, np.float32))


def classes_of(net, x):
    outputs = net(np.asarray(x, np.float32))
    if isinstance(outputs, dict):
        raise ValueError("expected a net of one output")  # it is a copy all the same
    return tf.cast(outputs, tf.float32).numpy().argmax(-1)


def evaluated(container, net, x, y):
    return classifier(net).evaluate(*CONTAINERS[container](x, y), verbose=0, return_dict=True)["accuracy"]


def cross_entropy(z, y):
    return scipy.special.logsumexp(z, axis=-1) - z[np.arange(len(z)), y]


def is_right(z, y):
    return z.argmax(-1) == y


def log_density(z):
    return scipy.special.logsumexp(z, axis=-1)


PGD = jt.attacks.PGD(jt.Linf(0.02), steps=1)
# name -> (call of net, images, labels; what is right, of logits and labels; whether the level of logits matters)
DOORS = {
    "attack": (lambda n, x, y: PGD.against(n, x, y).correct, is_right, False),
    "FGSM": (lambda n, x, y: jt.attacks.FGSM(jt.Linf(0.0)).against(n, x, y).unbroken, is_right, False),
    "autoattack": (
        lambda n, x, y: autoattack(n, x, y, seed=[0, 0], ball=jt.Linf(1e-7), attacks=["apgd-ce"]).broken,
        lambda z, y: ~is_right(z, y),
        False,
    ),
    "energy": (lambda n, x, y: classifier(n).energy(x), lambda z, y: -log_density(z), True),
    "joint energy": (lambda n, x, y: classifier(n).energy(x, y), lambda z, y: -z[np.arange(len(z)), y], True),
    "energy model": (lambda n, x, y: energy_model(n)(x)["energy"], lambda z, y: -log_density(z), True),
    "predict": (lambda n, x, y: scipy.special.softmax(classifier(n).predict(x, verbose=0), -1),
                lambda z, y: scipy.special.softmax(z, -1), False),
    "predict_on_batch": (lambda n, x, y: classifier(n).predict_on_batch(x).argmax(-1),
                         lambda z, y: z.argmax(-1), False),
    "test_on_batch": (
        lambda n, x, y: classifier(n).test_on_batch(x, y, return_dict=True)["loss"],
        lambda z, y: cross_entropy(z, y).mean(),
        False,
    ),
    **{
        f"fit of {kind}": (functools.partial(in_fit, kind), lambda z, y: cross_entropy(z, y).mean(), False)
        for kind in CONTAINERS
    },
    **{
        f"evaluate of {kind}": (functools.partial(evaluated, kind), lambda z, y: is_right(z, y).mean(), False)
        for kind in CONTAINERS
    },
    "robust accuracy": (robust_in_fit, lambda z, y: is_right(z, y).mean(), False),
    "ood": (lambda n, x, y: ood.ood_scores(n, x)["log_density"], lambda z, y: log_density(z), True),
    "features": (lambda n, x, y: features.classifier(n).of(x)[1], lambda z, y: scipy.special.softmax(z, -1), False),
    "agreement": (lambda n, x, y: np.array(scores.agreement(n, x, y)), lambda z, y: is_right(z, y).mean(), False),
    "file": (stored, lambda z, y: z - z.mean(-1, keepdims=True), False),
    "bfloat16": (lambda n, x, y: classes_of(in_bfloat16(n), x), lambda z, y: z.argmax(-1), False),
    "float32": (lambda n, x, y: classes_of(in_float32(n), x), lambda z, y: z.argmax(-1), False),
}  # fmt: skip
UNGATED = (
    "energy model",
    "file",
    "bfloat16",
    "float32",
)  # nets in the end, and images go into a net as Keras lets them
UNLABELLED = ("energy", "energy model", "predict", "predict_on_batch", "ood", "features", *UNGATED[1:])
SUBCLASSED = ("subclassed", "softmax hidden", "sigmoid hidden", "untracked")
SCALED = ("0..255", "-1..1", "normalised")  # which nothing but an accuracy shows
LOOSE = ("half precision", "bfloat16", "softmax in half")
ROUNDED = ("float16", "bfloat16")  # images
MADE: dict = {}


def net_of(name, adapt):
    key = (name, adapt)
    if key not in MADE:
        keras.utils.set_random_seed(0)
        make, settings = NETS[name]
        MADE[key] = jt.as_logits(make(), **settings or {}) if adapt else make()
    return MADE[key]


def combinations(number, seed):
    """Random choices; of images and labels one at most is wrong in most of them, so that all reasons are met."""
    rng = np.random.default_rng(seed)
    good_images, good_labels = ([k for k, (_, good) in kinds.items() if good] for kinds in (IMAGES, LABELS))
    for _ in range(number):
        net, door = rng.choice(list(NETS)), rng.choice(list(DOORS))
        images = rng.choice(list(IMAGES) if rng.random() < 0.4 else good_images)
        labels = rng.choice(list(LABELS) if rng.random() < 0.3 else good_labels)
        yield str(net), bool(rng.random() < 0.6), str(images), str(labels), str(door)


def outcome(net, adapt, images, labels, door):
    """What comes out: "right", "refused", or a sentence about what is wrong."""
    if door in UNGATED:
        images = "float32"
    (x, images_fit), (label, labels_fit) = IMAGES[images], LABELS[labels]
    call, right, level = DOORS[door]
    as_it_is = NETS[net][1] is None or adapt
    count = len(x) if isinstance(x, (np.ndarray, list, tf.Tensor)) else N
    y = Y[:count]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if door.partition(" of ")[2] in CONTAINERS and not (images_fit and labels_fit):
                CONTAINERS[door.partition(" of ")[2]](x, label(y))
        except (ValueError, TypeError):
            return "refused"  # by TensorFlow, in whose container it does not fit
        try:
            found = call(net_of(net, adapt), x, label(y))
        except (ValueError, TypeError) as error:
            text = str(error)
            if net in SUBCLASSED and "when calling" in text:
                return "refused"  # by Keras: what such a net takes shows when it is called
            sentence = "\n" not in text and len(text) < 700
            ours = text.startswith(("expected", "unknown", "cannot")) or "expected" in text or "received" in text
            return "refused" if sentence and ours else f"{type(error).__name__}, not in one sentence: {text[:300]}"
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:300]}"
    if door not in UNGATED and (not images_fit or (not labels_fit and door not in UNLABELLED)):
        return f"taken in: {np.shape(found)}"
    if not as_it_is and net not in LOOSE[:2]:  # half precision is a net of logits as it is
        # Training changes the net, energies have no accuracy, half of the images say too little, and the normalised
        # net is as right without as with.
        unknowing = "fit" in door or door in (*UNLABELLED, "joint energy", "agreement", "test_on_batch")
        unknowing |= net == "normalised" or door in ("evaluate of dataset", "evaluate of PyDataset")
        knows = net not in SCALED or not (unknowing or images in ("one image", "zeros and ones"))
        told = any(issubclass(word.category, UserWarning) for word in said)
        return "right" if told or not knows or door in UNGATED else "not a word"
    if (level and net in FOR_ENERGIES_TOO) or (door == "file" and net == "untracked"):
        return "right"
    z = logits_of(np.asarray(x, np.float32) if images not in ROUNDED else tf.cast(x, tf.float32).numpy())
    loose = net in LOOSE or door == "bfloat16"
    wanted, got = np.asarray(right(z, y), np.float64), np.asarray(found, np.float64)
    if door == "file":
        got = got - got.mean(-1, keepdims=True)
    if door.startswith(("fit of", "file")) and net == "with dropout" and door != "file":
        return "right"  # the loss of training is random
    if wanted.shape != got.shape:
        return f"of shape {got.shape}, expected {wanted.shape}"
    near = np.abs(got - wanted) <= (0.1 if loose else TOLERANCE) * np.maximum(1, np.abs(wanted))
    # In half precision an image near the boundary may fall on the other side.
    return "right" if near.mean() >= (0.8 if loose else 1) else f"{got}, expected {wanted}"


def look(number, seed):
    found = {combination: outcome(*combination) for combination in combinations(number, seed)}
    return {key: result for key, result in found.items() if result not in ("right", "refused")}, found


def test_nothing_is_silently_wrong():
    wrong, found = look(60, seed=0)
    assert not wrong
    assert list(found.values()).count("right") > 15
    assert list(found.values()).count("refused") > 15


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_nothing_is_silently_wrong_in_two_thousand_combinations(part):
    wrong, _ = look(200, seed=1 + part)
    assert not wrong


def test_every_kind_of_net_images_labels_and_door_is_among_the_combinations():
    seen = [
        set(column) for column in zip(*itertools.chain(*(combinations(200, 1 + i) for i in range(10))), strict=True)
    ]
    assert [len(kinds) for kinds in seen] == [len(NETS), 2, len(IMAGES), len(LABELS), len(DOORS)]
