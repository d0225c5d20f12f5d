import dataclasses
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf import EnergyClassifier
from jeat_tf.attacks.surrogates import joint_energy
from jeat_tf.core.balls import Linf
from jeat_tf.core.records import plain
from jeat_tf.methods.guard import DivergenceError, Guard
from jeat_tf.methods.guard_files import read_events
from jeat_tf.methods.inner import Persistent, attacked
from jeat_tf.methods.monitoring import Board
from jeat_tf.methods.objective import joint, perturbed
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.updates import Free
from tests.conftest import tiny_cnn
from tests.test_methods import LABELS, METHODS, X, attack, contrast, persistent


def compiled(method=None, optimizer=None, net=None, **kwargs):
    model = EnergyClassifier(net or tiny_cnn(), method or Standard(), **kwargs)
    model.compile(optimizer or keras.optimizers.Adam(1e-3))
    return model


def begun(model=None, **settings):
    """A guard at the begin of training."""
    guard = Guard(**settings)
    guard.set_model(model or compiled())
    guard.on_train_begin()
    return guard


def feed(guard, logs, steps=1):
    """Ends so many steps with these logs, or with those that logs(i) gives."""
    for i in range(steps):
        guard.model.step.assign_add(1)
        given = logs(i) if callable(logs) else logs
        guard.on_train_batch_end(0, {f"latest_{name}" if name != "loss" else name: v for name, v in given.items()})


def values(variables):
    return [variable.numpy().copy() for variable in variables]


def assert_same(a, b):
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


def at(batch, act):
    """A callback that acts at the end of one batch."""
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda index, logs: act() if index == batch else None)


HEALTHY = {"loss": 1.0, "gap": 0.5, "gradient_norm": 2.0, "saturation": 0.1, "accuracy": 0.9}

ALARMS = {
    "loss is nan": (0, {"loss": np.nan}, 1),
    "gap is inf": (0, {"gap": -np.inf}, 1),
    "gradient_norm is nan": (0, {"gradient_norm": np.nan}, 1),
    "gap is 1001, beyond the limit of 1000": (0, {"gap": -1001.0}, 1),
    "gradient_norm is 100001, beyond the limit of 100000": (0, {"gradient_norm": 100001.0}, 1),
    "gap is 26, beyond the limit of 25": (20, {"gap": 26.0}, 1),
    "gradient_norm is 201, beyond the limit of 200": (20, {"gradient_norm": 201.0}, 1),
    "saturation is 0.62, beyond the limit of 0.6": (20, {"saturation": 0.75}, 4),
    "accuracy_drop is 0.216, beyond the limit of 0.2": (60, {"accuracy": 0.66}, 9),
}


class TestAlarms:
    @pytest.mark.parametrize("message", ALARMS)
    def test_each_fires_at_its_step_and_no_earlier(self, message):
        healthy, change, steps = ALARMS[message]
        guard = begun(recoveries=0)
        feed(guard, HEALTHY, healthy)
        feed(guard, HEALTHY | change, steps - 1)
        with pytest.raises(DivergenceError, match=rf"diverged at step {healthy + steps}: {message}\. No checkpoint"):
            feed(guard, HEALTHY | change)

    @pytest.mark.parametrize("message", ALARMS)
    def test_zero_does_not_look_but_at_what_is_not_finite(self, message):
        names = "max_gap max_gradient_norm gap_factor gradient_factor max_saturation max_accuracy_drop"
        guard = begun(recoveries=0, **dict.fromkeys(names.split(), 0))
        _, change, _ = ALARMS[message]
        feed(guard, HEALTHY, 60)
        if np.isfinite(next(iter(change.values()))):
            feed(guard, HEALTHY | change, 20)
        else:
            with pytest.raises(DivergenceError):
                feed(guard, HEALTHY | change)

    def test_a_median_of_few_values_does_not_count(self):
        feed(begun(recoveries=0), lambda i: HEALTHY | {"gap": 0.1 if i < 19 else 900.0}, 20)

    def test_noise_is_no_alarm(self):
        """A gap about 0 with outliers, gradients over two decades, accuracies of batches of 8 that rise and stay."""
        rng = np.random.default_rng(0)

        def noisy(i):
            return {
                "gap": 3 * rng.standard_t(3),
                "gradient_norm": 10 ** rng.uniform(-1, 1),
                "saturation": rng.uniform(-0.5, 0.5),
                "accuracy": rng.binomial(8, min(0.1 + i / 500, 0.7)) / 8,
            }

        guard = begun(recoveries=0)
        for i in range(3000):
            guard.on_train_batch_end(i, {"loss": 1.0} | {f"latest_{name}": value for name, value in noisy(i).items()})

    def test_negatives_less_saturated_than_data_are_no_alarm(self):
        """Noise on digits, more than half of whose pixels are at an end."""
        feed(begun(recoveries=0), HEALTHY | {"saturation": -1.3}, 10)

    def test_a_fall_of_the_accuracy_of_adversarial_images_is_an_alarm_too(self):
        guard = begun(recoveries=0)
        healthy = {"loss": 1.0, "gradient_norm": 2.0, "adv_accuracy": 0.9}
        feed(guard, healthy, 60)
        with pytest.raises(DivergenceError, match="accuracy_drop is 0.216"):
            feed(guard, healthy | {"adv_accuracy": 0.66}, 9)

    def test_methods_without_negatives_have_fewer_logs(self):
        feed(begun(recoveries=0), {"loss": 1.0, "gradient_norm": 1.0, "accuracy": 0.5}, 100)


@pytest.fixture(scope="module")
def poisoned():
    """Two epochs of 16 steps of JEAT, watched, whose weights become NaN after the tenth step of each.

    Returns model, guard, history, runs of the chain, traces of the chain.
    """
    runs, traces = [], []
    negatives = persistent()

    def sampler(energy_fn, x, *, seed):
        traces.append(1)
        tf.py_function(lambda: runs.append(1), [], [])
        return negatives.sampler(energy_fn, x, seed=seed)

    watched = Persistent(negatives.buffer, sampler)
    model = compiled(joint(watched, perturb=attacked(joint_energy, attack()), positive=perturbed))
    guard = Guard(every=2)
    poison = at(9, lambda: model.net.set_weights([w * np.nan for w in model.net.get_weights()]))
    history = model.fit(X, LABELS, batch_size=2, epochs=2, verbose=0, callbacks=[poison, guard]).history
    return model, guard, history, len(runs), len(traces)


class TestRecovery:
    def test_nan_weights_become_the_last_good_ones_and_training_goes_on(self, poisoned):
        model, guard, history, _, _ = poisoned
        assert [event.reason for event in guard.events] == ["loss is nan"] * 2
        # The snapshot of step 10 was taken of NaN, and never was good; that of step 8 had stood for two steps by then.
        assert [event.step for event in guard.events] == [11, 27]
        assert [event.restored_step for event in guard.events] == [8, 23]
        assert all(np.isfinite(w.numpy()).all() for w in (*model.weights, *model.optimizer.variables))
        assert np.isfinite(history["loss"]).all()

    def test_time_goes_on(self, poisoned):
        model = poisoned[0]
        assert int(model.step) == int(model.optimizer.iterations) == 32

    def test_chains_run_twice_as_often_from_then_on_without_a_new_trace(self, poisoned):
        _, guard, _, runs, traces = poisoned
        assert [event.chain_rounds for event in guard.events] == [2, 4]
        assert runs == 11 + 2 * 16 + 4 * 5
        assert traces == 1

    def test_all_that_belongs_to_the_state_is_restored(self):
        for method in (METHODS["jeat"], METHODS["dat"]):
            model = compiled(method, update=Free(Linf(0.1), batch_size=16), net=tiny_cnn(norm=True))
            layers = (model.net, model.replay_buffer, model.curriculum, model.update)
            held = [layer for layer in layers if layer is not None]
            moments = [v for v in model.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
            state = [*moments, *(weight for layer in held for weight in layer.weights)]
            good = values(state)
            guard = begun(model)
            for variable in state:
                variable.assign(variable + keras.ops.cast(1, variable.dtype))
            feed(guard, {"loss": np.nan})
            assert_same(good, values(state))
            assert len(moments) == 2 * len(model.net.trainable_weights)

    def test_a_snapshot_is_good_after_a_whole_further_interval(self):
        restored = []
        for steps in (9, 10, 19, 20, 25, 30):
            guard = begun(every=10)
            feed(guard, HEALTHY, steps)
            feed(guard, {"loss": np.nan})
            restored.append(guard.events[0].restored_step)
        assert restored == [0, 0, 0, 10, 10, 20]

    def test_an_alarm_discards_the_candidate_and_the_windows(self):
        guard = begun(every=10)
        feed(guard, HEALTHY, 35)
        feed(guard, {"loss": np.nan})  # step 36
        feed(guard, HEALTHY | {"gap": 900.0}, 15)  # to 51, with a candidate of step 46
        feed(guard, {"loss": np.nan})
        assert [event.restored_step for event in guard.events] == [20, 20]

    def test_gives_up_after_its_recoveries_and_leaves_the_good_state(self):
        model = compiled()
        guard = begun(model, recoveries=2)
        good = values(model.net.weights)
        model.net.set_weights([w * np.nan for w in good])
        feed(guard, {"loss": np.nan}, 2)
        model.net.set_weights([w * np.nan for w in good])
        with pytest.raises(DivergenceError, match=r"step 3: loss is nan, after 2 recoveries\. No checkpoint"):
            feed(guard, {"loss": np.nan})
        assert_same(good, values(model.net.weights))
        assert [event.action for event in guard.events] == ["recover", "recover", "stop"]

    def test_the_literal_coupled_chain_cannot_be_saved_and_ends_cleanly(self):
        """Noise of standard deviation one on images of width one: longer chains and smaller steps do not help."""
        literal = JEAT.literal(Linf(0.1), alpha=1.0)
        method = dataclasses.replace(literal, attack=attack(), buffer_size=40)
        model = compiled(method, keras.optimizers.Adam(1e-2))
        with pytest.raises(DivergenceError, match=r"after 2 recoveries"):
            model.fit(X, LABELS, batch_size=16, epochs=100, verbose=0, callbacks=[Guard(recoveries=2)])
        assert int(model.step) < 200
        assert all(np.isfinite(w.numpy()).all() for w in model.weights)


class TestMeasures:
    """What changes from one recovery to the next."""

    def test_a_constant_rate_is_halved(self):
        guard = begun()
        feed(guard, {"loss": np.nan}, 2)
        assert float(guard.model.optimizer.learning_rate) == pytest.approx(0.25e-3)
        assert [event.learning_rate for event in guard.events] == pytest.approx([0.5e-3, 0.25e-3])

    def test_a_schedule_of_the_adjustments_is_halved(self):
        model = EnergyClassifier(tiny_cnn(), Standard())
        decay = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)
        model.compile(keras.optimizers.SGD(model.adjustments.schedule(decay)))
        guard = begun(model)
        feed(guard, {"loss": np.nan}, 2)
        assert [event.learning_rate for event in guard.events] == pytest.approx([0.5e-3, 0.25e-3])

    def test_another_schedule_is_refused_unless_the_guard_only_stops(self):
        decay = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)
        with pytest.raises(ValueError, match=r"model\.adjustments\.schedule"):
            begun(compiled(optimizer=keras.optimizers.SGD(decay)))
        begun(compiled(optimizer=keras.optimizers.SGD(decay)), recoveries=0)

    def test_energies_are_penalised_from_then_on(self):
        guard = begun(compiled(JEAT(attack=attack(), **contrast(energy_l2=0.5))), energy_l2=0.1)
        feed(guard, {"loss": np.nan}, 2)
        assert [event.energy_l2 for event in guard.events] == pytest.approx([0.6, 0.7])

    def test_methods_without_negatives_keep_their_rounds(self):
        guard = begun(compiled(PGDAT(attack())), energy_l2=0.1)
        feed(guard, {"loss": np.nan})
        assert (guard.events[0].chain_rounds, guard.events[0].energy_l2) == (1, 0.0)


class TestEvents:
    def test_are_told_written_and_known_to_a_resumed_run(self, tmp_path, capsys):
        path = tmp_path / "guard.json"
        guard = begun(recoveries=2, path=str(path), board=Board(str(tmp_path / "logs"), X[:2], LABELS[:2]))
        feed(guard, HEALTHY, 20)
        feed(guard, HEALTHY | {"gap": 30.0})
        feed(guard, {"loss": np.nan})
        first, second = (line for line in capsys.readouterr().out.splitlines() if line)
        assert first.startswith("guard: recovery 1 of 2 at step 21: gap is 30, beyond the limit of 25; back to")
        assert second.startswith("guard: recovery 2 of 2 at step 22: loss is nan; back to the weights of step 0, ")
        assert read_events(str(path)) == guard.events
        assert set(plain(guard.events[0])) == {
            *("step", "action", "reason", "value", "limit", "restored_step"),
            *("learning_rate", "chain_rounds", "energy_l2"),
        }
        tags = [
            (event.step, value.tag)
            for file in sorted((tmp_path / "logs").iterdir())
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
        ]
        assert [step for step, tag in tags if tag == "guard/recoveries"] == [21, 22]
        assert [event.action for event in guard.events] == ["recover", "recover"]

        later = compiled()
        later.step.assign(100)
        with pytest.raises(DivergenceError, match="after 2 recoveries"):
            feed(begun(later, recoveries=2, path=str(path)), {"loss": np.nan})
        assert "guard: stopped at step 101, after 2 recoveries: loss is nan" in capsys.readouterr().out
        assert [(e.step, e.action) for e in read_events(str(path))][-1] == (101, "stop")
        earlier = compiled()
        earlier.step.assign(21)  # resumed from a checkpoint of this step: the second recovery has not been yet
        resumed = begun(earlier, recoveries=2, path=str(path))
        assert resumed.events == guard.events[:1]
        feed(resumed, {"loss": np.nan})
        assert [event.step for event in read_events(str(path))] == [21, 22]

    def test_a_stop_is_written_with_its_step_and_forgotten_by_a_run_that_goes_on(self, tmp_path):
        path = tmp_path / "guard.json"
        guard = begun(recoveries=0, path=str(path), board=Board(str(tmp_path / "logs"), X[:2], LABELS[:2]))
        feed(guard, HEALTHY, 3)
        with pytest.raises(DivergenceError):
            feed(guard, HEALTHY | {"gap": 2000.0})
        (stop,) = read_events(str(path))
        assert (stop.step, stop.action, stop.value, stop.limit) == (4, "stop", 2000.0, 1000.0)
        assert stop.restored_step is None
        assert os.listdir(tmp_path / "logs")
        assert begun(guard.model, recoveries=0, path=str(path)).events == []

    def test_looking_needs_no_model_beyond_its_step(self):
        """What a user's own training loop has to offer to be stopped."""
        guard = Guard(recoveries=0)
        guard.set_model(types.SimpleNamespace(steps_taken=7))
        guard.on_train_begin()
        with pytest.raises(DivergenceError, match="step 7: loss is inf"):
            guard.on_train_batch_end(0, {"loss": np.inf})


class TestGoingOn:
    """A guard that resumes from a checkpoint acts as one that was not interrupted."""

    def test_with_the_windows_and_the_states_that_were_saved(self, tmp_path):
        path, kept = str(tmp_path / "guard.json"), str(tmp_path / "state.weights.h5")
        whole, parts = compiled(), compiled()
        parts.net.set_weights(whole.net.get_weights())
        first, second = begun(whole, every=10), begun(parts, every=10, path=path)
        for guard in (first, second):
            feed(guard, HEALTHY, 12)
            guard.model.net.set_weights([w + 1 for w in guard.model.net.get_weights()])
            feed(guard, HEALTHY, 13)  # to 25: good is 10, the candidate 20; then weights go bad, unseen
            guard.model.net.set_weights([w * 1e3 for w in guard.model.net.get_weights()])
        second.save_state()
        parts.save_weights(kept)
        resumed = compiled()
        resumed.load_weights(kept)
        third = begun(resumed, every=10, path=path)
        for guard in (first, third):
            feed(guard, HEALTHY | {"gap": 30.0})  # beyond 25 only for a window of twenty values
        assert third.events == first.events
        assert [event.restored_step for event in third.events] == [10]
        assert_same(values(whole.net.weights), values(resumed.net.weights))
        third.remove_states()
        assert not list(tmp_path.glob("guard-*.npz"))

    def test_of_another_step_nothing_is_taken(self, tmp_path):
        path = str(tmp_path / "guard.json")
        guard = begun(path=path)
        feed(guard, HEALTHY, 5)
        guard.save_state()
        feed(guard, HEALTHY)
        assert begun(guard.model, path=path)._good.step == 6


def test_replicas_are_restored_alike():
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
    with strategy.scope():
        model = compiled(METHODS["jeat"])
    guard = begun(model)
    good = values(model.net.weights)
    model.net.set_weights([w * np.nan for w in good])
    feed(guard, {"loss": np.nan})
    for weight, value in zip(model.net.weights, good, strict=True):
        for copy in weight.value.values:
            np.testing.assert_array_equal(copy, value)
    assert guard.events[0].learning_rate == pytest.approx(0.5e-3)
