"""Several devices train as one: gradients are means over replicas, and nothing of a replica is lost."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core import replicas
from jeat_tf.core.flat import replace
from jeat_tf.core.replicas import Replica
from jeat_tf.core.seeds import fold_in
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.recipes.der import DER
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.pre_jeat import PreJEAT
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.methods.recipes.weat import WEAT
from jeat_tf.train.devices import strategy_of
from jeat_tf.train.run import train
from tests.conftest import tiny_cnn
from tests.test_methods import LABELS, METHODS, UPDATES, X, attack


@pytest.fixture(scope="module")
def strategy():
    devices = tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy(
        [device.name for device in devices[:2]], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def classifier(method, update, optimizer):
    keras.utils.set_random_seed(0)
    model = EnergyClassifier(tiny_cnn(), METHODS[method], UPDATES[update])
    model.compile(optimizer)
    return model


def one_step(model, batch_size=16):
    model.fit(tf.data.Dataset.from_tensor_slices((X[:16], LABELS[:16])).batch(batch_size), verbose=0)
    return [weight.numpy() for weight in model.net.trainable_variables]


def mean_step(method, update, monkeypatch):
    """The same step as the mean of what each replica would do alone, in plain TensorFlow."""
    model = classifier(method, update, keras.optimizers.SGD(1.0))
    sums = None
    for index in range(2):
        for module in ("jeat_tf.core.replicas", "jeat_tf.methods.steps", "jeat_tf.samplers.replay_buffer"):
            monkeypatch.setattr(f"{module}.this_replica", functools.partial(Replica, index, 2))
        monkeypatch.setattr("jeat_tf.methods.steps.mean_over_replicas", lambda values: values)
        monkeypatch.setattr("jeat_tf.methods.steps.apply_means", lambda optimizer, gradients, variables: None)
        rows = slice(8 * index, 8 * index + 8)
        seed = fold_in(fold_in(tf.constant([0, 0]), tf.constant(0, tf.int64)), index)
        net = model.net
        batch = model.objective.prepare(net, tf.constant(X[rows]), tf.constant(LABELS[rows]), seed)
        with tf.GradientTape() as tape:
            loss = model.objective.total(net, batch).loss
        gradients = tape.gradient(loss, net.trainable_variables)
        sums = gradients if sums is None else [a + b for a, b in zip(sums, gradients, strict=True)]
    return [w.numpy() - g.numpy() / 2 for w, g in zip(model.net.trainable_variables, sums, strict=True)]


def some(names, quick):
    """The names, all but the quick ones marked slow."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("method", some(METHODS, quick=("standard", "jem", "jeat", "dat")))
def test_a_step_is_the_mean_of_the_replicas_steps(method, strategy, monkeypatch):
    with strategy.scope():
        model = classifier(method, "descend", keras.optimizers.SGD(1.0))
    together = one_step(model)
    for one, other in zip(together, mean_step(method, "descend", monkeypatch), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("update", "bounds"),
    [*((name, {}) for name in UPDATES), ("descend", {"global_clipnorm": 0.05}), ("descend", {"clipvalue": 0.01})],
)
def test_two_replicas_of_half_a_batch_step_as_one_of_a_batch(update, bounds, strategy):
    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9, **bounds)

    alone = one_step(classifier("standard", update, optimizer()))
    with strategy.scope():
        model = classifier("standard", update, optimizer())
    for one, other in zip(one_step(model), alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bounds", "scaling"),
    [
        ({"clipnorm": 0.02}, "static"),
        ({"global_clipnorm": 0.05}, "dynamic"),
        pytest.param({"clipnorm": 0.02}, "dynamic", marks=pytest.mark.slow),
        pytest.param({"clipvalue": 0.01}, "static", marks=pytest.mark.slow),
    ],
)
def test_replicas_bound_gradients_without_the_factor_of_loss_scaling(bounds, scaling, strategy):
    def optimizer():
        if scaling == "static":
            return keras.optimizers.SGD(0.1, loss_scale_factor=1024, **bounds)
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, **bounds), initial_scale=1024)

    alone = one_step(classifier("standard", "descend", optimizer()))
    with strategy.scope():
        model = classifier("standard", "descend", optimizer())
    for one, other in zip(one_step(model), alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


CERTAIN = {
    "pgd_at": PGDAT(attack(start="image")),
    "trades": TRADES(attack(start="image")),
    "weat": WEAT(attack(start="image")),
    "pre_jeat": PreJEAT(attack(start="image")),
    "der": DER(attack(start="image")),
}
"""Methods that draw nothing: two replicas see what one sees, and not only what two alone would."""


@pytest.mark.parametrize("update", some([name for name in UPDATES if name != "free"], quick=("descend", "awp")))
@pytest.mark.parametrize("method", some(CERTAIN, quick=("pgd_at",)))
def test_two_replicas_step_as_one_by_every_method_that_draws_nothing(method, update, strategy, monkeypatch):
    monkeypatch.setitem(METHODS, method, CERTAIN[method])
    alone = one_step(classifier(method, update, keras.optimizers.SGD(1.0)))
    with strategy.scope():
        model = classifier(method, update, keras.optimizers.SGD(1.0))
    for one, other in zip(one_step(model), alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_the_saved_buffer_holds_the_chains_of_all_replicas(strategy, tmp_path):
    with strategy.scope():
        model = classifier("jeat", "descend", keras.optimizers.SGD(0.1))
    one_step(model)
    parts = [copy.numpy() for copy in strategy.experimental_local_results(model.replay_buffer.images.value)]
    whole = np.concatenate([parts[0][:20], parts[1][20:]])
    assert (parts[0][20:] != whole[20:]).any()
    model.save_weights(tmp_path / "state.weights.h5")
    resumed = classifier("jeat", "descend", keras.optimizers.SGD(0.1))
    resumed.load_weights(tmp_path / "state.weights.h5")
    np.testing.assert_array_equal(resumed.replay_buffer.images.numpy(), whole)
    ages = resumed.replay_buffer.age.numpy()
    assert (ages[:20] > 0).sum() == (ages[20:] > 0).sum() == 8


def test_rows_that_cannot_be_divided_are_refused():
    assert Replica(1, 2).rows(10, "a size") == (5, 5)
    with pytest.raises(ValueError, match="expected a size divisible by 3 devices, received 10"):
        Replica(0, 3).rows(10, "a size")


def test_one_device_is_left_alone():
    assert replicas.this_replica() == Replica(0, 1)
    values = [tf.constant(1.0), None]
    assert replicas.mean_over_replicas(values) is values


RUN = TrainConfig()
SMALL = {
    "method": "jeat",
    "epochs": 2,
    "batch_size": 32,
    "chain_steps": 2,
    "buffer_size": 64,
    "validation_percent": 90,
    "robust_every": 0,
    "images_every": 0,
}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"devices": "two"}, "expected --devices=all or a number from 1, received two"),
        ({"devices": "0"}, "expected --devices=all or a number from 1, received 0"),
        ({"devices": "2", "batch_size": 33}, "--batch_size divisible by 2 devices, received 33; write --batch_size=32"),
        ({"devices": "2", "buffer_size": 65}, "--buffer_size divisible by 2 devices, received 65"),
        ({"devices": "2", "accumulate_steps": 2}, "--accumulate_steps does not work on several devices"),
        ({"devices": "64", "batch_size": 64}, "start another one"),
    ],
)
def test_devices_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        strategy_of(replace(RUN, **(SMALL | settings)))


def test_all_devices_without_a_gpu_are_one():
    assert strategy_of(replace(RUN, devices="all")).num_replicas_in_sync == 1


@pytest.mark.slow
def test_a_command_line_divides_its_processor():
    """In a process of its own: what a command line does first must not start TensorFlow."""
    words = (
        "from jeat_tf.config.cli import load_quietly; load_quietly()\n"
        "from jeat_tf.config.flags import parsed; from jeat_tf.config.train import TrainConfig\n"
        "from jeat_tf.train.devices import strategy_of\n"
        "print(strategy_of(parsed(TrainConfig, '--devices=2')).num_replicas_in_sync)"
    )
    assert subprocess.run([sys.executable, "-c", words], capture_output=True, text=True).stdout == "2\n"


def test_a_run_on_two_devices_resumes_on_one(tmp_path):
    config = replace(RUN, **SMALL, model_dir=str(tmp_path), devices="2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EnergyClassifier, "fit", functools.partialmethod(_one_epoch))
        with pytest.raises(KeyboardInterrupt):
            train(config)
    result = train(replace(config, devices="1"))
    assert result.steps == 2 * (result.steps // 2)
    assert np.isfinite(result.logs["loss"])


_fit = EnergyClassifier.fit


def _one_epoch(model, *args, **kwargs):
    _fit(model, *args, **(kwargs | {"epochs": 1}))
    raise KeyboardInterrupt
