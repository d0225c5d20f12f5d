"""Methods against references of their own: published algorithms in plain numpy, on a net of two dense layers.

The references take from the library its random numbers alone. Everything else, gradients as well, is written out.
"""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Linf
from jeat_tf.core.seeds import fold_in, split
from jeat_tf.methods.inner import Curriculum
from jeat_tf.methods.recipes.dat import DAT
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.pre_jeat import PreJEAT
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.methods.steps import FreeStep, awp, descend, sam
from jeat_tf.samplers.class_statistics import class_components
from jeat_tf.samplers.values import SGLD, NormalizedDescent, SplitSGLD
from tests.conftest import seed

EPSILON, RATE, SHAPE = 0.1, 0.05, (4, 4, 1)
RNG = np.random.default_rng(0)
X, LABELS = RNG.random((6, *SHAPE), np.float32), np.array([0, 1, 2, 3, 1, 2])
ONE_HOT = np.eye(4)[LABELS]


class Reference:
    """f(x) = tanh(x W + b) V + c in float64, with gradients by hand."""

    def __init__(self, net):
        self.weights = [w.astype(np.float64) for w in net.get_weights()]

    def hidden(self, x):
        w, b, _, _ = self.weights
        return np.tanh(x.reshape(len(x), -1) @ w + b)

    def logits(self, x):
        return self.hidden(x) @ self.weights[2] + self.weights[3]

    def to_images(self, x, of_logits):
        """Gradient of images, from that of logits [B, K]."""
        w, _, v, _ = self.weights
        return ((of_logits @ v.T * (1 - self.hidden(x) ** 2)) @ w.T).reshape(x.shape)

    def to_weights(self, x, of_logits):
        h = self.hidden(x)
        before = of_logits @ self.weights[2].T * (1 - h**2)
        return [x.reshape(len(x), -1).T @ before, before.sum(0), h.T @ of_logits, of_logits.sum(0)]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def of_cross_entropy(logits):
    return softmax(logits) - ONE_HOT


def logsumexp(logits):
    return np.log(np.exp(logits).sum(axis=1))


def total(gradients):
    return [sum(parts) for parts in zip(*gradients, strict=True)]


def made():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    hidden = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    net = keras.Model(inputs, keras.layers.Dense(4)(hidden))
    net.set_weights([2 * w + 0.1 for w in net.get_weights()])
    return net, Reference(net)


def stepped(net, method, update=descend, steps=1):
    """The weights after some steps of the library, and the last LossOut."""
    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(net.trainable_variables)
    objective = method.objective(SHAPE, 4, 0)
    for _ in range(steps):
        out = update(net, objective, optimizer, tf.constant(X), tf.constant(LABELS), seed())
    return net.get_weights(), out


def assert_weights(found, expected, **tolerance):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


def descended(reference, gradients, rate=RATE):
    return [w - rate * g for w, g in zip(reference.weights, gradients, strict=True)]


def normal(seed, shape=X.shape):
    return tf.random.stateless_normal(shape, seed, alg="philox").numpy()


def test_jeat_to_the_letter_is_algorithm_1():
    alpha, steps = 0.02, 3
    net, ref = made()
    method = JEAT.literal(Linf(EPSILON), alpha=alpha, steps=steps)
    objective = method.objective(SHAPE, 4, 0)
    buffer = objective.negatives.buffer
    _, _, attack_seed, chain_seed = split(seed(), 4)
    slot_seed, start_seed, restart_seed, walk_seed = split(chain_seed, 4)
    stored, slots, _ = buffer.draw(len(X), slot_seed)

    delta = Linf(EPSILON).random_start(tf.zeros(X.shape), attack_seed).numpy()
    delta = np.clip(delta + EPSILON * np.sign(ref.to_images(X, -ONE_HOT)), -EPSILON, EPSILON)  # gradient at x itself
    x_adv = X + delta  # not clipped to pixels
    fresh = tf.random.stateless_uniform([len(X)], restart_seed, alg="philox").numpy() < 0.05
    uniform = tf.random.stateless_uniform(X.shape, start_seed, 0.0, 1.0, alg="philox").numpy()
    x_neg = np.where(fresh[:, None, None, None], uniform, stored.numpy())
    for k in range(steps):
        noise = normal(fold_in(fold_in(walk_seed, 0), k))
        x_neg = x_neg - alpha / 2 * ref.to_images(x_neg, -softmax(ref.logits(x_neg))) + np.sqrt(alpha) * noise
    loss = np.mean(-(ref.logits(x_adv) * ONE_HOT).sum(1)) + np.mean(logsumexp(ref.logits(x_neg)))
    gradients = total([
        ref.to_weights(x_adv, -ONE_HOT / len(X)),
        ref.to_weights(x_neg, softmax(ref.logits(x_neg)) / len(X)),
    ])  # fmt: skip

    optimizer = keras.optimizers.SGD(RATE)
    optimizer.build(net.trainable_variables)
    out = descend(net, objective, optimizer, tf.constant(X), tf.constant(LABELS), seed())
    np.testing.assert_allclose(out.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(buffer.images.numpy()[slots.numpy()], x_neg, atol=1e-5)
    assert_weights(net.get_weights(), descended(ref, gradients))


def test_pre_jeat_to_the_letter_takes_its_gradient_at_the_image():
    net, ref = made()
    _, _, attack_seed, _ = split(seed(), 4)
    delta = Linf(EPSILON).random_start(tf.zeros(X.shape), attack_seed).numpy()
    x_adv = X + np.clip(delta + EPSILON * np.sign(ref.to_images(X, -ONE_HOT)), -EPSILON, EPSILON)
    found, _ = stepped(net, PreJEAT.literal(Linf(EPSILON)))
    assert_weights(found, descended(ref, ref.to_weights(x_adv, of_cross_entropy(ref.logits(x_adv)) / len(X))))


def test_trades():
    beta, size, steps = 6.0, 0.02, 4
    net, ref = made()
    _, _, attack_seed, _ = split(seed(), 4)
    p = softmax(ref.logits(X))
    x_adv = np.clip(X + 0.001 * normal(attack_seed), 0, 1)
    for _ in range(steps):
        gradient = ref.to_images(x_adv, softmax(ref.logits(x_adv)) - p)  # of KL(p || p(x_adv)) in x_adv
        x_adv = np.clip(np.clip(x_adv + size * np.sign(gradient), X - EPSILON, X + EPSILON), 0, 1)
    q = softmax(ref.logits(x_adv))
    kl = (p * np.log(p / q)).sum(1)
    loss = np.mean(-np.log((p * ONE_HOT).sum(1))) + beta * np.mean(kl)
    of_p = p * (np.log(p / q) - kl[:, None])  # of KL in the logits of x
    gradients = total([
        ref.to_weights(X, (p - ONE_HOT + beta * of_p) / len(X)),
        ref.to_weights(x_adv, beta * (q - p) / len(X)),
    ])  # fmt: skip
    found, out = stepped(net, TRADES(PGD(Linf(EPSILON), steps, size, "gaussian"), beta=beta))
    np.testing.assert_allclose(out.loss, loss, rtol=1e-5)
    assert_weights(found, descended(ref, gradients), rtol=1e-4)


def perturbed_weights(ref, kind, size):
    gradients = ref.to_weights(X, of_cross_entropy(ref.logits(X)) / len(X))
    if kind == "awp":
        norms = [np.linalg.norm(w) / np.linalg.norm(g) for w, g in zip(ref.weights, gradients, strict=True)]
        return [w + size * n * g * (w.ndim > 1) for w, n, g in zip(ref.weights, norms, gradients, strict=True)]
    norm = np.sqrt(sum(np.sum((w * g) ** 2) for w, g in zip(ref.weights, gradients, strict=True)))
    return [w + size * w**2 * g / norm for w, g in zip(ref.weights, gradients, strict=True)]


@pytest.mark.parametrize(("kind", "update", "size"), [("awp", awp(0.05), 0.05), ("asam", sam(0.5, adaptive=True), 0.5)])
def test_sharpness_aware_steps(kind, update, size):
    net, ref = made()
    moved = Reference(net)
    moved.weights = perturbed_weights(ref, kind, size)
    gradients = moved.to_weights(X, of_cross_entropy(moved.logits(X)) / len(X))
    found, _ = stepped(net, Standard(), update)
    assert_weights(found, descended(ref, gradients))


def test_three_replays_of_free():
    net, ref = made()
    delta = np.zeros_like(X)
    for _ in range(3):
        x = np.clip(X + delta, 0, 1)
        of_logits = of_cross_entropy(ref.logits(x)) / len(X)
        upwards, gradients = ref.to_images(x, of_logits), ref.to_weights(x, of_logits)
        ref.weights = descended(ref, gradients)
        delta = np.clip(delta + EPSILON * np.sign(upwards), -EPSILON, EPSILON)
    update = FreeStep(Linf(EPSILON), batch_size=len(X), image_shape=SHAPE)
    found, _ = stepped(net, Standard(), update, steps=3)
    assert_weights(found, ref.weights)
    np.testing.assert_allclose(update.delta, delta, atol=1e-6)


@pytest.mark.parametrize("chain", [SGLD.symmetric(4, noise_std=0.0, clip_gradient=1.0), SplitSGLD(
    4, step_size=0.25, noise_std=0.0, clip_gradient=2.0, inner_steps=5)], ids=["proximal", "split"])  # fmt: skip
def test_the_published_loop_of_jem_pp(chain):
    """M passes through the net, and N steps of 0.2 through its first layer in each, on images of [-1, 1]."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    first = keras.layers.Dense(8, name="first")(keras.layers.Flatten()(keras.layers.Rescaling(2.0, -1.0)(inputs)))
    net = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Activation("tanh")(first)))
    net.set_weights([4 * w for w in net.get_weights()])
    objective = JEM(chain=chain, restart_probability=0.0, buffer_size=20).objective(SHAPE, 4, 0)
    stored, _, _ = objective.negatives.buffer.draw(6, split(seed(), 4)[0])
    ref = Reference(net)
    x, moved = 2.0 * stored.numpy() - 1.0, 0
    for _ in range(4):
        hidden = ref.hidden(x)
        p = softmax(ref.logits(x)) @ ref.weights[2].T * (1 - hidden**2)  # d logsumexp / d first layer, held fixed
        for _ in range(5):
            gradient = (p @ ref.weights[0].T).reshape(x.shape)
            moved += np.sum(np.abs(gradient) > 1)
            x = np.clip(x + 0.2 * np.clip(gradient, -1, 1), -1, 1)
    assert moved  # the clip of the gradient is at work
    np.testing.assert_allclose(objective.negatives(net, 6, seed()).x_neg, (x + 1) / 2, atol=1e-5)


def test_dat_climbs_the_logit_of_a_class_by_steps_of_one_length():
    net, ref = made()
    objective = DAT(PGD(Linf(EPSILON)), chain=NormalizedDescent(3, 0.2)).objective(SHAPE, 4, 0)
    objective.negatives.curriculum.steps.assign(3)
    label_seed, start_seed, _ = split(seed(), 3)
    labels = tf.random.stateless_uniform([6], label_seed, 0, 4, tf.int32, alg="philox").numpy()
    x = tf.random.stateless_uniform(X.shape, start_seed, 0.0, 1.0, alg="philox").numpy().astype(np.float64)
    for _ in range(3):
        gradient = ref.to_images(x, np.eye(4)[labels])
        norm = np.sqrt(np.sum(gradient**2, axis=(1, 2, 3), keepdims=True))
        x = np.clip(x + 0.2 * gradient / norm, 0, 1)
    np.testing.assert_allclose(objective.negatives(net, 6, seed()).x_neg, x, atol=1e-5)


class AuthorsCurriculum:
    """A deque of the last 8 AUCs; once it is full and its mean reaches 0.8, another step and an empty deque."""

    def __init__(self, max_steps):
        self.steps, self.max_steps, self.last = 0, max_steps, collections.deque(maxlen=8)

    def update(self, auc):
        self.last.append(auc)
        if self.steps < self.max_steps and len(self.last) == 8 and np.mean(self.last) >= 0.8:
            self.steps += 1
            self.last.clear()


@pytest.mark.parametrize(
    "aucs",
    [[0.3] * 60 + [0.95] * 40, [1.0] * 30, list(np.random.default_rng(1).uniform(0.6, 1.0, 100))],
    ids=["hard, then easy", "easy", "varied"],
)
def test_the_curriculum_of_dat(aucs):
    ours, theirs = Curriculum(4), AuthorsCurriculum(4)
    found, expected = [], []
    for auc in aucs:
        ours.update(tf.constant(auc, tf.float32))
        theirs.update(auc)
        found.append(int(ours.steps))
        expected.append(theirs.steps)
    assert found == expected
    assert found[-1] > 0


def test_the_start_of_weat_is_a_mean_and_a_little_of_its_components():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(5, 16)) * 0.05
    flat = np.clip(0.5 + rng.normal(size=(300, 5)) @ spread, 0, 1).astype(np.float32)
    found = class_components(flat.reshape(-1, *SHAPE), np.arange(300) % 2, 2, retained=0.99, sigma=0.005)
    for k in range(2):
        of_class = flat[np.arange(300) % 2 == k].astype(np.float64)
        _, values, directions = np.linalg.svd(of_class - of_class.mean(0), full_matrices=False)
        count = np.searchsorted(np.cumsum(values**2) / np.sum(values**2), 0.99) + 1
        factor = directions[:count].T * (0.005 * values[:count])  # their alpha_i: value times N(0, 1) times sigma
        np.testing.assert_allclose(found.means[k], of_class.mean(0), atol=1e-6)
        np.testing.assert_allclose(found.factors[k] @ found.factors[k].T, factor @ factor.T, atol=1e-7)
        assert not found.stds[k].any()  # no noise on pixels
        share = np.sqrt(np.trace(factor @ factor.T) / of_class.var(0, ddof=1).sum())
        np.testing.assert_allclose(share, 0.005 * np.sqrt(149), rtol=0.01)  # 0.061 of the class's deviation
