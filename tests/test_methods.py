import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks import pgd, training
from jeat_tf.energy import energy
from jeat_tf.methods import (
    EnergyClassifier,
    Persistent,
    adversarial,
    clean,
    descend,
    gaussian_noise,
    jeat,
    jem,
    joint,
    noise,
    perturbed,
    pgd_at,
    pre_jeat,
    robust_jem,
    standard,
)
from jeat_tf.norms import linf
from jeat_tf.samplers import ReplayBuffer, sgld, uniform
from tests.conftest import seed, tiny_cnn

X = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
LABELS = np.arange(32) % 10


def attack(epsilon=0.1, num_steps=2):
    ball = linf(epsilon)
    return functools.partial(pgd, ball=ball, start=ball.random_start, step_size=epsilon / 2, num_steps=num_steps)


def persistent(**kwargs):
    buffer = ReplayBuffer(40, uniform((8, 8, 1)), image_shape=(8, 8, 1), num_classes=10)
    return Persistent(buffer, functools.partial(sgld, step_size=0.25, noise_std=0.005, num_steps=2), **kwargs)


METHODS = {
    "standard": standard,
    "noise": lambda: noise(0.1),
    "pgd_at": lambda: pgd_at(attack()),
    "pre_jeat": lambda: pre_jeat(attack()),
    "jem": lambda: jem(persistent(), input_noise_std=0.01),
    "jeat": lambda: jeat(attack(), persistent()),
    "robust_jem": lambda: robust_jem(attack(), persistent()),
}


def trained(objective, steps=2, seed=0, norm=False):
    """The net's weights after a few steps from equal weights on equal batches."""
    keras.utils.set_random_seed(0)
    model = EnergyClassifier(tiny_cnn(norm), objective, seed=seed)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(X, LABELS, batch_size=16, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model.net.get_weights()


def assert_same(a, b, **kwargs):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, **kwargs)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_finite_steps_logs_its_terms_and_is_traced_once(name):
    keras.utils.set_random_seed(0)
    objective, traces = METHODS[name](), []

    def update(*args):
        traces.append(1)
        return descend(*args)

    model = EnergyClassifier(tiny_cnn(), objective, update)
    before = model.net.get_weights()
    model.compile("adam", metrics=["accuracy"])
    history = model.fit(X, LABELS, batch_size=16, epochs=3, verbose=0).history
    assert all(np.any(a != b) for a, b in zip(before, model.net.get_weights(), strict=True))
    assert {"loss", "accuracy", "gradient_norm", *objective.terms} <= set(history)
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["loss"][0] != 0
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["noise", "jeat"])
def test_equal_seeds_give_equal_weights_and_others_do_not(name):
    first = trained(METHODS[name]())
    assert_same(first, trained(METHODS[name]()), rtol=0)
    assert np.any(first[0] != trained(METHODS[name](), seed=1)[0])


@functools.cache
def standard_weights():
    return trained(standard())


class TestLimits:
    """Each method with its own ingredient switched off is the method it should be."""

    def test_zero_epsilon_is_standard_training(self):
        for recipe in (pgd_at, pre_jeat):
            assert_same(trained(recipe(attack(epsilon=0.0))), standard_weights(), rtol=1e-6, atol=1e-7)

    def test_zero_noise_is_standard_training(self):
        assert_same(trained(noise(0.0)), standard_weights(), rtol=0)

    def test_zero_attack_steps_and_no_start_is_standard_training(self):
        idle = functools.partial(pgd, ball=linf(0.1), step_size=0.1, num_steps=0)
        assert_same(trained(pgd_at(idle)), standard_weights(), rtol=0)

    def test_zero_energy_weight_is_the_discriminative_half(self):
        assert_same(trained(jem(persistent(), energy_weight=0.0)), standard_weights(), rtol=1e-5, atol=1e-7)

    def test_jeat_without_energy_is_pre_jeat(self):
        assert_same(
            trained(jeat(attack(), persistent(), energy_weight=0.0)),
            trained(pre_jeat(attack())),
            rtol=1e-5,
            atol=1e-7,
        )

    def test_jeat_and_robust_jem_without_attack_are_jem(self):
        expected = trained(jem(persistent()))
        for recipe in (jeat, robust_jem):
            assert_same(trained(recipe(attack(epsilon=0.0), persistent())), expected, rtol=1e-5, atol=1e-6)


class TestJoint:
    def prepared(self, objective, net):
        return objective.prepare(net, tf.constant(X), tf.constant(LABELS), seed())

    def test_at_weight_one_the_energies_of_x_adv_cancel(self):
        net, objective = tiny_cnn(), jeat(attack(), persistent())
        batch = self.prepared(objective, net)
        expected = tf.reduce_mean(energy(net(batch.x_adv), LABELS)) - tf.reduce_mean(energy(net(batch.x_neg)))
        np.testing.assert_allclose(objective.loss(net, batch).loss, expected, rtol=1e-4)

    def test_the_loss_pulls_data_down_and_pushes_negatives_up(self):
        """The sign of eq. 20, which the paper prints wrong."""
        keras.utils.set_random_seed(1)
        net = tiny_cnn()
        objective = jem(persistent(), energy_weight=100.0)
        batch = self.prepared(objective, net)
        gap_before = np.mean(energy(net(batch.x_marginal))) - np.mean(energy(net(batch.x_neg)))
        with tf.GradientTape() as tape:
            loss = objective.loss(net, batch).loss
        keras.optimizers.SGD(1e-4).apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        gap_after = np.mean(energy(net(batch.x_marginal))) - np.mean(energy(net(batch.x_neg)))
        assert gap_after < gap_before

    def test_positive_phase_on_clean_or_perturbed_images(self):
        net = tiny_cnn()
        for positive in (clean, perturbed):
            objective = jeat(attack(), persistent(), positive=positive)
            batch = self.prepared(objective, net)
            images = batch.x_adv if positive is perturbed else batch.x
            np.testing.assert_allclose(
                objective.loss(net, batch).terms["energy_pos"], np.mean(energy(net(images))), rtol=1e-5
            )

    def test_a_separate_stream_is_the_positive_phase(self):
        objective = jem(persistent())
        net, other = tiny_cnn(), tf.constant(X[::-1] * 0.5)
        batch = objective.prepare(net, (tf.constant(X), other), tf.constant(LABELS), seed())
        np.testing.assert_array_equal(batch.x_marginal, other)
        np.testing.assert_array_equal(batch.x_adv, X)
        np.testing.assert_allclose(
            objective.loss(net, batch).terms["energy_pos"], np.mean(energy(net(other))), rtol=1e-5
        )

    def test_input_noise_has_its_standard_deviation(self):
        batch = self.prepared(jem(persistent(), input_noise_std=0.2), tiny_cnn())
        assert np.std(batch.x - X) == pytest.approx(0.2, rel=0.05)

    def test_perturbations_compose_as_values(self):
        net = tiny_cnn()
        objective = joint(persistent(), perturb=gaussian_noise(0.1), positive=perturbed)
        batch = self.prepared(objective, net)
        assert np.std(batch.x_adv - batch.x) == pytest.approx(0.1, rel=0.05)


class TestPersistent:
    def test_negatives_stay_in_the_buffer(self):
        negatives = persistent(restart_probability=0.0)
        before = negatives.buffer.images.numpy()
        x_neg = negatives(tiny_cnn(), 8, seed()).numpy()
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


class TestBatchNormalisation:
    def test_the_inner_problem_leaves_batch_statistics_alone(self):
        net = tiny_cnn(norm=True)
        before = [w.numpy() for w in net.non_trainable_weights]
        jeat(attack(), persistent()).prepare(net, tf.constant(X), tf.constant(LABELS), seed())
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
    model = EnergyClassifier(tiny_cnn(), jeat(attack(), persistent()))
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
    objective = jeat(attack(), persistent())
    batch = objective.prepare(net, tf.constant(X), tf.constant(LABELS), seed())
    assert batch.x_adv.dtype == batch.x_neg.dtype == tf.float32
    out = objective.loss(net, batch)
    assert all(value.dtype == tf.float32 for value in (out.loss, *out.terms.values()))
    model = EnergyClassifier(net, objective)
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
        model = EnergyClassifier(tiny_cnn(), jeat(attack(), persistent()))
        model.compile("adam")
    data = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)
    assert np.isfinite(model.fit(data, verbose=0).history["loss"]).all()
    copies = strategy.experimental_local_results(model.replay_buffer.images.value)
    assert np.any(copies[0].numpy() != copies[1].numpy())
