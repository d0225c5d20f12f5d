import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.surrogates import cross_entropy, joint_energy, training
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import Linf
from jeat_tf.core.energy import energy
from jeat_tf.methods.base import Method
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.inner import (
    Curriculum,
    Fresh,
    Persistent,
    attacked,
    dequantized,
    gaussian_noise,
    kl_attacked,
)
from jeat_tf.methods.objective import adversarial, classification_loss, discriminated, joint, level, perturbed
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.recipes.dat import DAT
from jeat_tf.methods.recipes.der import DER
from jeat_tf.methods.recipes.flow import Flow
from jeat_tf.methods.recipes.igebm import IGEBM
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.jem_dsm import JEMDSM
from jeat_tf.methods.recipes.noise import Noise
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.pre_jeat import PreJEAT
from jeat_tf.methods.recipes.robust_jem import RobustJEM
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.methods.recipes.weat import WEAT
from jeat_tf.methods.steps import FreeStep, awp, descend, sam
from jeat_tf.methods.updates import AWP, SAM, Free
from jeat_tf.models.cnn import small_cnn
from jeat_tf.models.layers import ActNorm
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.starts import Uniform
from jeat_tf.samplers.values import SGLD, NormalizedDescent, SplitSGLD
from tests.conftest import seed, tiny_cnn

SHAPE = (8, 8, 1)
X = np.random.default_rng(0).random((32, *SHAPE), np.float32)
LABELS = np.arange(32) % 10


def attack(epsilon=0.1, steps=2, start="random"):
    return PGD(Linf(epsilon), steps, epsilon / 2, start)


def kl_attack(epsilon=0.1, steps=2):
    return attack(epsilon, steps, "gaussian")


def chain(**settings):
    return SGLD(**{"steps": 2, "clip_pixels": False} | settings)


def contrast(**settings):
    """Settings of a contrastive method whose chains are short and whose buffer is small."""
    return {"chain": chain(), "buffer_size": 40, "input_noise_std": 0.0} | settings


def objective(method):
    """What a method minimises, for images of this file."""
    return method.objective(SHAPE, 10, 0) if isinstance(method, Method) else method


def persistent(sampler=None, **settings):
    buffer = ReplayBuffer(40, Uniform(), image_shape=SHAPE, num_classes=10)
    return Persistent(buffer, sampler or chain(), **settings)


def fresh(max_steps=5):
    return Fresh(Uniform().layer(SHAPE, 10), NormalizedDescent(max_steps), 10, Curriculum(max_steps, patience=2))


METHODS = {
    "standard": Standard(),
    "noise": Noise(0.1),
    "pgd_at": PGDAT(attack()),
    "der": DER(attack()),
    "trades": TRADES(kl_attack()),
    "weat": WEAT(kl_attack()),
    "pre_jeat": PreJEAT(attack()),
    "jem": JEM(**contrast(input_noise_std=0.01)),
    "jem_dsm": JEMDSM(),
    "jeat": JEAT(attack=attack(), **contrast()),
    "robust_jem": RobustJEM(attack=attack(), **contrast()),
    "dat": DAT(attack(), chain=NormalizedDescent(5)),
    "igebm": IGEBM(**contrast()),
    "flow": Flow(17),
}
UPDATES = {"descend": None, "awp": AWP(0.01), "sam": SAM(0.05), "free": Free(Linf(0.1), batch_size=16)}


def free(epsilon):
    return FreeStep(Linf(epsilon), batch_size=16, image_shape=SHAPE)


def trained(method, steps=2, update=descend):
    """The net's weights after a few steps, run eagerly, from equal weights on equal batches."""
    keras.utils.set_random_seed(0)
    net, optimizer, minimised = tiny_cnn(), keras.optimizers.SGD(0.1), objective(method)
    optimizer.build(net.trainable_variables)
    for i in range(steps):
        rows = slice(16 * (i % 2), 16 * (i % 2 + 1))
        update(net, minimised, optimizer, tf.constant(X[rows]), tf.constant(LABELS[rows]), seed(i))
    return net.get_weights()


def assert_same(a, b, **kwargs):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, **kwargs)


def test_every_method_is_here():
    assert set(METHODS) == set(methods())
    assert all(type(method) is methods()[name] for name, method in METHODS.items())


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_finite_steps_logs_its_terms_and_is_traced_once(name):
    keras.utils.set_random_seed(0)
    traces = []

    def update(*args):
        traces.append(1)
        return descend(*args)

    model = EnergyClassifier(tiny_cnn(), METHODS[name], update)
    before = model.net.get_weights()
    model.compile("adam", metrics=["accuracy"])
    history = model.fit(X, LABELS, batch_size=16, epochs=3, verbose=0).history
    assert all(np.any(a != b) for a, b in zip(before, model.net.get_weights(), strict=True))
    assert {"loss", f"{model.metric_prefix}accuracy", "gradient_norm", *model.objective.terms} <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["loss"][0] != 0
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("method", "update", "prefix"),
    [
        *((METHODS[name], None, "adv_") for name in ("pgd_at", "der", "pre_jeat", "jeat", "robust_jem", "dat")),
        *((METHODS[name], None, "") for name in ("standard", "noise", "trades", "weat", "jem", "jem_dsm", "flow")),
        (WEAT(kl_attack(), classified="adversarial"), None, "adv_"),
        (Standard(), UPDATES["free"], "adv_"),
        (Standard(), UPDATES["awp"], ""),
    ],
    ids=lambda value: getattr(value, "word", None),
)
def test_logs_name_the_accuracy_of_adversarial_images(method, update, prefix):
    assert EnergyClassifier(tiny_cnn(), method, update).metric_prefix == prefix


def test_only_training_logs_have_the_prefix_and_it_is_of_the_metrics_alone():
    model = EnergyClassifier(tiny_cnn(), METHODS["pgd_at"])
    model.compile(keras.optimizers.SGD(0.0), metrics=["accuracy"])
    shown = (X[:16], LABELS[:16])
    history = model.fit(*shown, batch_size=16, verbose=0, validation_data=shown).history
    latest = {"latest_gradient_norm", "latest_adv_accuracy"}
    expected = {"loss", "adv_accuracy", "cross_entropy", "gradient_norm", "val_loss", "val_accuracy"}
    assert set(history) == expected | latest
    assert history["latest_adv_accuracy"] == history["adv_accuracy"]
    assert set(model.evaluate(*shown, verbose=0, return_dict=True)) == {"loss", "accuracy"}


def test_equal_seeds_give_equal_weights_and_others_do_not():
    def fitted(seed):
        keras.utils.set_random_seed(0)
        model = EnergyClassifier(tiny_cnn(), METHODS["jeat"], seed=seed)
        model.compile(keras.optimizers.SGD(0.1))
        model.fit(X, LABELS, batch_size=16, shuffle=False, verbose=0)
        return model.net.get_weights()

    first = fitted(0)
    assert_same(first, fitted(0), rtol=0)
    assert np.any(first[0] != fitted(1)[0])


@functools.cache
def standard_weights():
    return trained(Standard())


class TestLimits:
    """Each method with its own ingredient switched off is the method it should be."""

    def test_zero_epsilon_is_standard_training(self):
        for method in (PGDAT(attack(epsilon=0.0)), PreJEAT(attack(epsilon=0.0))):
            assert_same(trained(method), standard_weights(), rtol=1e-6, atol=1e-7)

    def test_zero_noise_is_standard_training(self):
        assert_same(trained(Noise(0.0)), standard_weights(), rtol=0)

    def test_zero_attack_steps_and_no_start_is_standard_training(self):
        assert_same(trained(PGDAT(PGD(Linf(0.1), 0, start="image"))), standard_weights(), rtol=0)

    def test_zero_beta_and_zero_epsilon_make_trades_standard_training(self):
        assert_same(trained(TRADES(kl_attack(), beta=0.0)), standard_weights(), rtol=0)
        assert_same(trained(TRADES(kl_attack(epsilon=0.0))), standard_weights(), rtol=1e-5, atol=1e-6)

    def test_der_without_its_regulariser_is_adversarial_training(self):
        assert_same(trained(DER(attack(), beta=0.0)), trained(PGDAT(attack())), rtol=1e-6, atol=1e-7)

    def test_der_of_images_that_no_attack_moves_is_standard_training(self):
        assert_same(trained(DER(attack(epsilon=0.0))), standard_weights(), rtol=1e-6, atol=1e-7)

    def test_weat_with_equal_weights_is_trades(self, monkeypatch):
        monkeypatch.setattr("jeat_tf.methods.recipes.weat.weight", tf.ones_like)
        assert_same(trained(WEAT(kl_attack())), trained(TRADES(kl_attack())), rtol=1e-6, atol=1e-7)

    def test_weat_on_perturbed_images_without_divergence_is_adversarial_training(self, monkeypatch):
        monkeypatch.setattr("jeat_tf.methods.recipes.weat.weight", tf.ones_like)
        method = WEAT(kl_attack(), beta=0.0, classified="adversarial")
        assert_same(trained(method), trained(adversarial(kl_attacked(kl_attack()))), rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("name", ["standard", "trades", "jeat"])
    def test_zero_gamma_and_zero_rho_are_plain_descent(self, name):
        expected = trained(METHODS[name])
        for update in (awp(0.0), awp(0.5, from_step=100), sam(0.0), sam(0.0, adaptive=True)):
            assert_same(trained(METHODS[name], update=update), expected, rtol=0)

    def test_free_with_zero_epsilon_is_standard_training(self):
        assert_same(trained(Standard(), update=free(0.0)), standard_weights(), rtol=0)

    def test_free_with_one_replay_begins_with_a_standard_step(self):
        """delta is zero before the first gradient; with m = 1 each delta is the answer to the batch before."""
        assert_same(trained(Standard(), steps=1, update=free(0.1)), trained(Standard(), steps=1), rtol=0)

    def test_zero_energy_weight_is_the_discriminative_half(self):
        assert_same(trained(JEM(**contrast(energy_weight=0.0))), standard_weights(), rtol=1e-5, atol=1e-7)
        without = DAT(attack(), chain=NormalizedDescent(5), energy_weight=0.0)
        assert_same(trained(without), trained(PGDAT(attack())), rtol=1e-5, atol=1e-7)

    def test_jeat_without_energy_is_pre_jeat(self):
        without = JEAT(attack=attack(), **contrast(energy_weight=0.0))
        assert_same(trained(without), trained(PreJEAT(attack())), rtol=1e-5, atol=1e-7)

    def test_jeat_and_robust_jem_without_attack_are_jem(self):
        expected = trained(JEM(**contrast()))
        for kind in (JEAT, RobustJEM):
            assert_same(trained(kind(attack=attack(epsilon=0.0), **contrast())), expected, rtol=1e-5, atol=1e-6)

    def test_energy_l2_of_zero_changes_nothing(self):
        assert_same(trained(JEM(**contrast(energy_l2=0.0))), trained(joint(persistent())), rtol=0)

    def test_igebm_is_jem_with_all_its_weight_on_p_of_x_and_y(self):
        negatives = persistent(surrogate=joint_energy, relabel=True)
        expected = trained(joint(negatives, class_weight=0.0, energy_weight=0.0, joint_weight=1.0))
        assert_same(trained(IGEBM(**contrast(energy_l2=0.0))), expected, rtol=0)


def test_der_lowers_the_change_of_energy_that_an_attack_makes():
    def change(method):
        keras.utils.set_random_seed(0)
        model = EnergyClassifier(tiny_cnn(), method)
        model.compile(keras.optimizers.Adam(1e-2))
        history = model.fit(X, LABELS, batch_size=16, epochs=10, verbose=0).history
        assert {"delta_energy", "delta_energy_squared"} <= set(history)
        return history["delta_energy_squared"][-1]

    assert change(DER(attack(), beta=1000.0)) < 0.5 * change(DER(attack(), beta=0.0))


def test_the_loss_of_der_in_numbers():
    net, x, x_adv = tiny_cnn(), tf.constant(X[:4]), tf.constant(X[4:8])
    found = level(lambda *_: x_adv, beta=2.0)
    out = found.loss(net, found.prepare(net, x, tf.constant(LABELS[:4]), seed()))
    change = energy(net(x)) - energy(net(x_adv))
    classification = tf.reduce_mean(cross_entropy(net, tf.constant(LABELS[:4]))(x_adv))
    np.testing.assert_allclose(out.loss, classification + 2 * tf.reduce_mean(change**2), rtol=1e-5)
    np.testing.assert_allclose(out.terms["delta_energy"], tf.reduce_mean(change), rtol=1e-5)


class TestUpdates:
    def test_awp_takes_the_gradient_at_the_perturbed_kernels(self):
        net, minimised = tiny_cnn(), objective(Standard())
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(net.trainable_variables)
        start = net.get_weights()

        def gradients():
            with tf.GradientTape() as tape:
                loss = minimised.loss(net, minimised.prepare(net, tf.constant(X), tf.constant(LABELS), seed())).loss
            return [g.numpy() for g in tape.gradient(loss, net.trainable_variables)]

        there = [
            w + 0.1 * np.linalg.norm(w) * g / np.linalg.norm(g) if w.ndim > 1 else w
            for w, g in zip(start, gradients(), strict=True)
        ]
        net.set_weights(there)
        expected = [w - g for w, g in zip(start, gradients(), strict=True)]
        net.set_weights(start)
        awp(0.1)(net, minimised, optimizer, tf.constant(X), tf.constant(LABELS), seed())
        assert_same(net.get_weights(), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("adaptive", [False, True])
    def test_sam_moves_by_rho_before_it_looks(self, adaptive):
        """On the loss sum(w^2) / 2 the gradient is w itself, and all is known in closed form."""
        layer = keras.layers.Dense(10, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.5))
        net = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), layer])
        w = layer.kernel.numpy()
        minimised = joint(persistent(), energy_weight=0.0, class_weight=0.0)
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(net.trainable_variables)
        sam(0.3, adaptive=adaptive)(net, minimised, optimizer, tf.constant(X), tf.constant(LABELS), seed())
        scale = np.abs(w) if adaptive else np.ones_like(w)
        moved = w + 0.3 * scale**2 * w / np.linalg.norm(scale * w)
        np.testing.assert_allclose(layer.kernel.numpy(), w - moved, rtol=1e-4, atol=1e-6)

    def test_free_keeps_delta_in_the_ball_and_raises_the_loss(self):
        net, update = tiny_cnn(), free(0.1)
        optimizer = keras.optimizers.SGD(0.0)
        optimizer.build(net.trainable_variables)
        batch = tf.constant(X[:16]), tf.constant(LABELS[:16])
        losses = [float(update(net, objective(Standard()), optimizer, *batch, seed()).loss) for _ in range(4)]
        assert losses[-1] > losses[0]
        assert np.abs(update.delta.numpy()).max() == pytest.approx(0.1)

    @pytest.mark.parametrize("name", ["awp", "sam", "free"])
    def test_each_runs_in_fit_and_its_state_is_saved(self, name, tmp_path):
        model = EnergyClassifier(tiny_cnn(), Standard(), UPDATES[name])
        model.compile("adam")
        history = model.fit(X, LABELS, batch_size=16, epochs=2, verbose=0).history
        assert np.isfinite(history["gradient_norm"]).all()
        model.save_weights(tmp_path / "state.weights.h5")
        other = EnergyClassifier(tiny_cnn(), Standard(), UPDATES[name])
        other.compile("adam")
        other.load_weights(tmp_path / "state.weights.h5")
        assert int(other.step) == 4
        if name == "free":
            np.testing.assert_array_equal(other.update.delta.numpy(), model.update.delta.numpy())
            assert np.any(other.update.delta.numpy())


@pytest.mark.parametrize("name", ["awp", *(pytest.param(n, marks=pytest.mark.slow) for n in ("descend", "sam"))])
class TestLayersThatSetTheirWeights:
    """In a pass in training mode; an update must not undo it."""

    def fitted(self, name, **kwargs):
        keras.utils.set_random_seed(0)
        net = small_cnn((8, 8, 1), 10, **kwargs)
        model = EnergyClassifier(net, Standard(), UPDATES[name])
        model.compile(keras.optimizers.SGD(1e-3))
        model.fit(X, LABELS, batch_size=16, epochs=15, verbose=0)
        return net

    def test_spectral_norm_comes_to_one(self, name):
        net = self.fitted(name, spectral_norm=True)
        kernels = [w.numpy() for w in net.trainable_weights if len(w.shape) > 1][:-1]  # the logits' is free
        largest = [np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), ord=2) for kernel in kernels]
        assert largest == pytest.approx([1.0] * len(kernels), abs=0.1)

    def test_act_norm_is_set_by_the_first_batch(self, name):
        layers = [layer for layer in self.fitted(name, norm="act").layers if isinstance(layer, ActNorm)]
        assert layers
        for layer in layers:
            assert float(layer.initialized) == 1.0
            assert np.abs(np.log(np.abs(layer.scale.numpy()))).max() > 0.3


class TestDat:
    def test_the_loss_is_binary_cross_entropy_of_minus_energy(self):
        net, minimised = tiny_cnn(), objective(METHODS["dat"])
        batch = minimised.prepare(net, tf.constant(X), tf.constant(LABELS), seed())
        logits = -np.concatenate([energy(net(batch.x)), energy(net(batch.x_neg))])
        expected = keras.losses.binary_crossentropy(
            np.repeat([1.0, 0.0], 32).astype("float32"), logits.astype("float32"), from_logits=True
        )
        np.testing.assert_allclose(minimised.loss(net, batch).terms["binary"], expected, rtol=1e-5)

    def test_squared_energies_can_be_penalised(self):
        net = tiny_cnn()
        minimised = discriminated(fresh(), perturb=attacked(cross_entropy, attack()), energy_l2=0.5)
        batch = minimised.prepare(net, tf.constant(X), tf.constant(LABELS), seed())
        out = minimised.total(net, batch)
        squared = np.mean(energy(net(batch.x)) ** 2) + np.mean(energy(net(batch.x_neg)) ** 2)
        np.testing.assert_allclose(out.loss, minimised.loss(net, batch).loss + 0.5 * squared, rtol=1e-5)

    def test_negatives_climb_as_far_as_the_curriculum_says(self):
        net, negatives = tiny_cnn(), fresh()
        for steps in (1, 3):
            negatives.curriculum.steps.assign(steps)
            first = negatives.start(tf.zeros([8], tf.int32), seed())
            still = dataclasses.replace(negatives, start=lambda labels, seed, x=first: x)
            x_neg = still(net, 8, seed()).x_neg
            moved = np.linalg.norm((x_neg - first).numpy().reshape(8, -1), axis=1)
            assert moved.max() <= 0.1 * steps + 1e-5
            assert moved.max() > 0.1 * (steps - 1)

    def test_the_curriculum_grows_where_negatives_are_easy(self):
        curriculum = Curriculum(3, threshold=0.8, patience=2)
        for auc in (0.7, 0.7):
            curriculum.update(tf.constant(auc))
        assert int(curriculum.steps) == 0
        for auc in (0.95, 0.95, 0.9, 0.9, 1.0, 1.0, 1.0, 1.0):
            curriculum.update(tf.constant(auc))
        assert int(curriculum.steps) == 3


class TestUnlabelled:
    def test_images_without_labels_count_for_p_of_x_alone(self):
        labels = np.where(np.arange(32) < 8, LABELS, -1)
        net, minimised = tiny_cnn(), dataclasses.replace(objective(JEM(**contrast())), unlabelled=True)
        batch = minimised.prepare(net, tf.constant(X), tf.constant(labels), seed())
        terms = minimised.loss(net, batch).terms
        expected = keras.losses.sparse_categorical_crossentropy(LABELS[:8], net(X[:8]), from_logits=True)
        np.testing.assert_allclose(terms["cross_entropy"], np.mean(expected), rtol=1e-5)
        np.testing.assert_allclose(terms["energy_pos"], np.mean(energy(net(X))), rtol=1e-5)

    def test_they_are_attacked_from_the_class_that_the_net_sees(self):
        net = tiny_cnn()
        guess = net(X).numpy().argmax(-1)
        known = objective(PGDAT(attack(start="image")))
        unknown = dataclasses.replace(known, unlabelled=True)
        x_adv = unknown.prepare(net, tf.constant(X), tf.constant(np.full(32, -1)), seed()).x_adv
        np.testing.assert_allclose(
            x_adv, known.prepare(net, tf.constant(X), tf.constant(guess), seed()).x_adv, atol=1e-6
        )

    def test_fit_takes_them_only_where_the_objective_knows_them(self):
        labels = np.where(np.arange(32) < 8, LABELS, -1)
        model = EnergyClassifier(tiny_cnn(), Standard())
        model.compile("adam")
        with pytest.raises(ValueError, match=r"0\.\.9"):
            model.fit(X, labels, verbose=0)
        model = EnergyClassifier(tiny_cnn(), Standard(), unlabelled=True)
        model.compile(keras.optimizers.SGD(0.0), weighted_metrics=["accuracy"])
        accuracy = np.mean(model.net(X[:8]).numpy().argmax(-1) == LABELS[:8])
        assert model.fit(X, labels, batch_size=32, verbose=0).history["accuracy"][0] == pytest.approx(accuracy)


def test_dequantised_pixels_fill_the_bins():
    x = tf.constant(np.random.default_rng(0).integers(0, 17, (64, 8, 8, 1)) / 16, tf.float32)
    filled = dequantized(17)(None, x, None, seed()).numpy()
    np.testing.assert_array_equal(np.round(filled * 16), np.round(x * 16))
    assert (filled * 16 - x.numpy() * 16).std() == pytest.approx(12**-0.5, rel=0.03)


class TestJoint:
    def prepared(self, minimised, net):
        return minimised.prepare(net, tf.constant(X), tf.constant(LABELS), seed())

    def test_at_weight_one_the_energies_of_x_adv_cancel(self):
        net, minimised = tiny_cnn(), objective(METHODS["jeat"])
        batch = self.prepared(minimised, net)
        expected = tf.reduce_mean(energy(net(batch.x_adv), LABELS)) - tf.reduce_mean(energy(net(batch.x_neg)))
        np.testing.assert_allclose(minimised.loss(net, batch).loss, expected, rtol=1e-4)

    def test_the_loss_pulls_data_down_and_pushes_negatives_up(self):
        """The sign of eq. 20, which the paper prints wrong."""
        keras.utils.set_random_seed(1)
        net = tiny_cnn()
        minimised = objective(JEM(**contrast(energy_weight=100.0)))
        batch = self.prepared(minimised, net)
        gap_before = np.mean(energy(net(batch.x_marginal))) - np.mean(energy(net(batch.x_neg)))
        with tf.GradientTape() as tape:
            loss = minimised.loss(net, batch).loss
        keras.optimizers.SGD(1e-4).apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        gap_after = np.mean(energy(net(batch.x_marginal))) - np.mean(energy(net(batch.x_neg)))
        assert gap_after < gap_before

    @pytest.mark.parametrize("energy_weight", [0.0, 1.0])
    def test_the_energy_that_is_trained_is_penalised(self, energy_weight):
        """IGEBM's authors square E(x, y); where E(x) is trained as well, it is E(x) as in JEM's code."""
        net = tiny_cnn()
        minimised = joint(persistent(surrogate=joint_energy), energy_weight=energy_weight, joint_weight=1.0)
        batch = self.prepared(minimised, net)
        labels, labels_neg = (None, None) if energy_weight else (LABELS, batch.labels_neg)
        expected = np.mean(energy(net(batch.x), labels) ** 2) + np.mean(energy(net(batch.x_neg), labels_neg) ** 2)
        np.testing.assert_allclose(minimised.loss(net, batch).terms["energy_squared"], expected, rtol=1e-5)

    def test_positive_phase_on_clean_or_perturbed_images(self):
        net = tiny_cnn()
        for positive in ("clean", "adversarial"):
            minimised = objective(JEAT(attack=attack(), positive=positive, **contrast()))
            batch = self.prepared(minimised, net)
            images = batch.x_adv if positive == "adversarial" else batch.x
            np.testing.assert_allclose(
                minimised.loss(net, batch).terms["energy_pos"], np.mean(energy(net(images))), rtol=1e-5
            )

    def test_a_separate_stream_is_the_positive_phase(self):
        minimised = objective(JEM(**contrast()))
        net, other = tiny_cnn(), tf.constant(X[::-1] * 0.5)
        batch = minimised.prepare(net, (tf.constant(X), other), tf.constant(LABELS), seed())
        np.testing.assert_array_equal(batch.x_marginal, other)
        np.testing.assert_array_equal(batch.x_adv, X)
        np.testing.assert_allclose(
            minimised.loss(net, batch).terms["energy_pos"], np.mean(energy(net(other))), rtol=1e-5
        )

    def test_input_noise_has_its_standard_deviation(self):
        batch = self.prepared(objective(JEM(**contrast(input_noise_std=0.2))), tiny_cnn())
        assert np.std(batch.x - X) == pytest.approx(0.2, rel=0.05)

    def test_perturbations_compose_as_values(self):
        net = tiny_cnn()
        minimised = joint(persistent(), perturb=gaussian_noise(0.1), positive=perturbed)
        batch = self.prepared(minimised, net)
        assert np.std(batch.x_adv - batch.x) == pytest.approx(0.1, rel=0.05)


class TestPersistent:
    def test_negatives_stay_in_the_buffer(self):
        negatives = persistent(restart_probability=0.0)
        before = negatives.buffer.images.numpy()
        x_neg = negatives(tiny_cnn(), 8, seed()).x_neg.numpy()
        after = negatives.buffer.images.numpy()
        changed = np.flatnonzero(np.any(after != before, axis=(1, 2, 3)))
        assert len(changed) == 8
        assert {x.tobytes() for x in after[changed]} == {x.tobytes() for x in x_neg}
        assert negatives.buffer.age.numpy().sum() == 8

    def test_a_proposal_leaves_the_buffer_alone(self):
        negatives = persistent()
        before = negatives.buffer.images.numpy()
        proposal = negatives.propose(tiny_cnn(), 8, seed())
        np.testing.assert_array_equal(negatives.buffer.images.numpy(), before)
        assert proposal.x_neg.shape == (8, 8, 8, 1)

    @pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
    def test_restarts(self, probability, share):
        negatives = persistent(restart_probability=probability)
        restarted = [np.mean(negatives.propose(tiny_cnn(), 40, seed(i)).restarted) for i in range(5)]
        assert np.mean(restarted) == pytest.approx(share, abs=0.15)

    def test_class_conditional_chains_lower_the_energy_of_their_slots_class(self):
        quiet = chain(noise_std=0.0, step_size=0.05)
        negatives = persistent(sampler=quiet, surrogate=joint_energy, restart_probability=0.0)
        net = tiny_cnn()
        proposal = negatives.propose(net, 8, seed())
        before = tf.gather(negatives.buffer.images.value, proposal.slots)
        np.testing.assert_array_equal(proposal.labels, proposal.slots % 10)
        assert np.all(energy(net(proposal.x_neg), proposal.labels) < energy(net(before), proposal.labels))

    def test_two_rounds_are_twice_the_chain(self):
        once = persistent(sampler=chain(noise_std=0.0, steps=4), restart_probability=0.0)
        twice = persistent(sampler=chain(noise_std=0.0, steps=2), restart_probability=0.0)
        net = tiny_cnn()
        np.testing.assert_allclose(
            once.propose(net, 8, seed()).x_neg, twice.propose(net, 8, seed(), rounds=2).x_neg, atol=1e-6
        )

    def test_the_published_split_chain_is_the_proximal_chain_where_the_first_block_is_linear(self):
        """JEM++'s M x N loop (N = 5, inner size 0.2) is M steps of size 1: its inner gradient is constant."""
        proximal = {"step_size": 1.0, "noise_std": 0.0, "steps": 4, "clip_gradient": 0.01}
        net = tiny_cnn()
        expected = persistent(SGLD(**proximal)).propose(net, 8, seed()).x_neg
        split = persistent(SplitSGLD(**proximal, inner_steps=5)).propose(net, 8, seed()).x_neg
        np.testing.assert_allclose(split, expected, atol=1e-5)
        assert np.abs(expected - persistent(chain(steps=0)).propose(net, 8, seed()).x_neg).max() > 0.01

    def test_one_inner_step_is_the_plain_chain_at_any_cut(self):
        quiet = {"steps": 2, "noise_std": 0.0, "clip_pixels": False}
        net = tiny_cnn()
        expected = persistent(SGLD(**quiet)).propose(net, 8, seed()).x_neg
        activation = next(layer.name for layer in net.layers if isinstance(layer, keras.layers.LeakyReLU))
        in_parts = SplitSGLD(**quiet, inner_steps=1, layer=activation)
        np.testing.assert_allclose(persistent(in_parts).propose(net, 8, seed()).x_neg, expected, atol=1e-6)

    def test_a_stem_that_is_not_linear_makes_inner_steps_differ(self):
        quiet = {"steps": 2, "noise_std": 0.0, "step_size": 50.0, "clip_pixels": False}
        net = tiny_cnn()
        activation = next(layer.name for layer in net.layers if isinstance(layer, keras.layers.LeakyReLU))
        in_parts = SplitSGLD(**quiet, inner_steps=5, layer=activation)
        split = persistent(in_parts).propose(net, 8, seed()).x_neg
        assert np.abs(split - persistent(SGLD(**quiet)).propose(net, 8, seed()).x_neg).max() > 1e-3


class TestBatchNormalisation:
    def test_the_inner_problem_leaves_batch_statistics_alone(self):
        net = tiny_cnn(norm=True)
        before = [w.numpy() for w in net.non_trainable_weights]
        objective(METHODS["jeat"]).prepare(net, tf.constant(X), tf.constant(LABELS), seed())
        assert_same(before, [w.numpy() for w in net.non_trainable_weights], rtol=0)

    def test_chains_in_training_mode_move_them(self):
        net = tiny_cnn(norm=True)
        before = [w.numpy() for w in net.non_trainable_weights]
        persistent(view=training)(net, 8, seed())
        assert np.any(before[0] != net.non_trainable_weights[0].numpy())


def test_regularisation_losses_of_the_net_are_minimised_too():
    inputs = keras.Input((8, 8, 1))
    layer = keras.layers.Dense(10, kernel_regularizer=keras.regularizers.L2(10.0))
    model = EnergyClassifier(keras.Model(inputs, layer(keras.layers.Flatten()(inputs))), adversarial())
    before = np.linalg.norm(layer.kernel)
    model.compile(keras.optimizers.SGD(0.01))
    model.fit(X, LABELS, epochs=5, verbose=0)
    assert np.linalg.norm(layer.kernel) < before / 2


def test_xla_runs_the_whole_step():
    model = EnergyClassifier(tiny_cnn(), METHODS["jeat"])
    model.compile("adam", metrics=["accuracy"], jit_compile=True)
    history = model.fit(X, LABELS, batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert model.replay_buffer.age.numpy().sum() > 0


def test_mixed_bfloat16_keeps_energies_and_chains_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        net = tiny_cnn()
    finally:
        keras.config.set_dtype_policy(policy)
    minimised = objective(METHODS["jeat"])
    batch = minimised.prepare(net, tf.constant(X), tf.constant(LABELS), seed())
    assert batch.x_adv.dtype == batch.x_neg.dtype == tf.float32
    out = minimised.loss(net, batch)
    assert all(value.dtype == tf.float32 for value in (out.loss, *out.terms.values()))
    model = EnergyClassifier(net, minimised)
    model.compile("adam")
    assert np.isfinite(model.fit(X, LABELS, verbose=0).history["loss"]).all()


def test_mirrored_replicas_draw_different_noise():
    devices = tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        pytest.skip("needs two logical devices, set before TensorFlow starts")
    strategy = tf.distribute.MirroredStrategy(
        [d.name for d in devices[:2]], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        model = EnergyClassifier(tiny_cnn(), METHODS["jeat"])
        model.compile("adam")
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
    copies = strategy.experimental_local_results(model.replay_buffer.images.value)
    assert np.any(copies[0].numpy() != copies[1].numpy())


def test_smoothed_labels_in_numbers():
    logits = tf.constant([[2.0, 0.0, 1.0], [0.0, 0.0, 3.0]])
    log_p = tf.nn.log_softmax(logits).numpy()
    found = classification_loss(logits, tf.constant([0, 2]), smoothing=0.3)
    half = classification_loss(tf.cast(logits, tf.float16), tf.constant([0, 2]), smoothing=0.3)
    np.testing.assert_allclose(half, found, rtol=1e-3)
    assert half.dtype == tf.float32
    expected = -np.mean([0.7 * log_p[0, 0] + 0.1 * log_p[0].sum(), 0.7 * log_p[1, 2] + 0.1 * log_p[1].sum()])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["standard", "pgd_at", "trades", "weat"])
def test_smoothed_labels_change_what_is_trained(name):
    smoothed = dataclasses.replace(METHODS[name], label_smoothing=0.3)
    assert np.any(trained(smoothed, steps=1)[0] != trained(METHODS[name], steps=1)[0])
