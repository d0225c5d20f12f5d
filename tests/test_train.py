import dataclasses
import json
import os
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from jeat_tf.config import build
from jeat_tf.config.flags import parsed
from jeat_tf.config.store import from_json, to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten, replace
from jeat_tf.methods.accounting import Passes
from jeat_tf.methods.callbacks import Checkpoints
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.guard import DivergenceError, Guard, _Alarm
from jeat_tf.methods.guard_files import read_events
from jeat_tf.methods.monitoring import Board
from jeat_tf.methods.updates import Free
from jeat_tf.models.files import load_net, weights_sha256
from jeat_tf.runs.training import read_training
from jeat_tf.train.planning import plan
from jeat_tf.train.run import _legs, train
from tests.test_config import PRESETS

# 1,260 images in batches of 300: four steps an epoch.
SMALL = {"epochs": 2, "batch_size": 300, "robust_every": 1, "images_every": 1}
CHAINS = {"chain_steps": 2, "buffer_size": 300}


def small(tmp_path, **settings):
    made = replace(TrainConfig(), **SMALL | {"model_dir": str(tmp_path / "run")} | settings)
    return where_used(made, **CHAINS | settings)


def where_used(config, **settings):
    """The config with those of the settings that its choices read."""
    return replace(config, **{name: given for name, given in settings.items() if name in flatten(config)})


@pytest.mark.parametrize("steps", [0, 1, 4, 6, 8])
def test_legs_cover_every_step_once(steps):
    legs = list(_legs(steps, 4, 2))
    assert sum((last - first) * size for first, last, size in legs) == 8 - steps
    assert all(last <= 2 for _, last, _ in legs)


class TestARun:
    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory, data_dir):
        folder = tmp_path_factory.mktemp("run")
        config = small(folder, input_noise_std=0.015)
        return config, train(config), pathlib.Path(config.run.model_dir)

    def test_leaves_its_files_and_no_others(self, run):
        files = {"best.keras", "config.json", "history.json", "last.json", "last.weights.h5", "logs", "net.keras"}
        assert set(os.listdir(run[2])) == files | {"train.json", ".jeat_tf.lock"}

    def test_result_says_what_was_done(self, run):
        config, result, folder = run
        assert read_training(str(folder)) == result
        assert result.steps == 8
        assert result.seconds > 0
        assert result.weights_sha256 == weights_sha256(load_net(str(folder)))
        assert result.dataset == "digits"
        assert {"loss", "gap", "energy_pos", "energy_neg", "val_accuracy", "val_robust_accuracy"} <= set(result.logs)
        assert from_json(TrainConfig, (folder / "config.json").read_text()) == config

    def test_tensorboard_reads_one_run_of_grouped_and_described_tags(self, run):
        logs = run[2] / "logs"
        assert all(path.is_file() for path in logs.iterdir())  # a folder would be a run of its own
        events = EventAccumulator(str(logs), size_guidance={"tensors": 0}).Reload()
        tags = {tag: events.Tensors(tag) for tag in events.Tags()["tensors"]}
        scalars = {
            *("loss/training", "loss/validation", "loss/cross_entropy"),
            *("accuracy/adversarial", "accuracy/validation", "accuracy/validation_robust"),
            *("energy/gap", "energy/data", "energy/negatives", "energy/squared", "chain/saturation"),
            *("buffer/gradient", "buffer/at_ends", "buffer/age", "buffer/ages"),
            *("optimizer/gradient_norm", "optimizer/learning_rate"),
        }
        images = {"images/adversarial", "images/negatives", "images/buffer"}
        others = {"custom_scalars__config__", "_hparams_/session_start_info"}
        assert set(tags) == scalars | images | others
        for tag in scalars:
            assert [event.step for event in tags[tag]] == [4, 8], tag
        for tag in scalars | images:
            assert events.SummaryMetadata(tag).summary_description.endswith((".", "0.6.")), tag
        history = json.loads((run[2] / "history.json").read_text())
        for name, tag in (("adv_accuracy", "accuracy/adversarial"), ("gap", "energy/gap")):
            found = [float(tf.make_ndarray(event.tensor_proto)) for event in tags[tag]]
            assert found == pytest.approx([entry[name] for entry in history])
        ages = [float(tf.make_ndarray(e.tensor_proto)) for e in tags["buffer/age"]]
        # All 300 slots are drawn at each of four steps an epoch, and 5% of them restart.
        assert ages == pytest.approx([sum(0.95**k for k in range(steps)) for steps in (4, 8)], rel=0.05)
        for tag in images:
            width, height, png = tf.make_ndarray(tags[tag][0].tensor_proto)[:3]
            assert tf.io.decode_png(png).shape == (int(height), int(width), 1)

    def test_tensorboard_opens_with_charts_of_tags_that_are_there(self, run):
        events = EventAccumulator(str(run[2] / "logs")).Reload()
        layout = layout_pb2.Layout()
        layout.ParseFromString(tf.make_ndarray(events.Tensors("custom_scalars__config__")[0].tensor_proto).item())
        (category,) = layout.category
        assert category.title == "What to watch"
        assert category.chart[0].title.startswith("Gap of energies")
        tags = events.Tags()["tensors"]
        for chart in category.chart:
            assert any(re.search(pattern, tag) for pattern in chart.multiline.tag for tag in tags), chart.title

    def test_hyper_parameters_are_comparable(self, run):
        events = EventAccumulator(str(run[2] / "logs")).Reload()
        data = events.PluginTagToContent("hparams")
        from tensorboard.plugins.hparams import metadata

        start = metadata.parse_session_start_info_plugin_data(data["_hparams_/session_start_info"])
        assert start.hparams["method"].string_value == "jeat"
        assert start.hparams["epochs"].number_value == 2
        assert "model_dir" not in start.hparams

    def test_a_finished_run_has_nothing_left_to_do(self, run):
        config, result, folder = run
        net = (folder / "last.weights.h5").read_bytes()
        again = train(config)
        assert again.weights_sha256 == result.weights_sha256
        assert again.seconds is None
        assert (folder / "last.weights.h5").read_bytes() == net

    def test_other_settings_are_refused_by_name(self, run):
        with pytest.raises(ValueError, match=r"other settings \(epsilon: .* -> 0.2\)"):
            train(replace(run[0], epsilon=0.2))

    def test_folders_and_logging_may_differ(self, run):
        train(replace(run[0], images_every=0, checkpoint_steps=3))

    def test_starting_over_in_its_folder_is_refused(self, run):
        with pytest.raises(ValueError, match="noresume"):
            train(replace(run[0], resume=False))


class TestResume:
    """An interrupted run ends bit for bit where an uninterrupted one does."""

    @pytest.fixture(scope="class")
    def whole(self, tmp_path_factory, data_dir):
        quiet = {"robust_every": 0, "images_every": 0, "energy_changes_every": 2}
        settings = {"augment": "crop", "input_noise_std": 0.015, "ema_momentum": 0.9}
        config = small(tmp_path_factory.mktemp("whole"), **settings, **quiet)
        train(config)
        return config

    def weights(self, folder, config):
        model = _restored(config, folder)
        return [w.numpy() for w in model.weights]

    @pytest.mark.parametrize("at", [1, pytest.param(4, marks=pytest.mark.slow)])
    def test_after_a_signal_at_any_step(self, at, whole, tmp_path, monkeypatch):
        config = replace(whole, model_dir=str(tmp_path / "run"))
        original = Checkpoints.on_train_batch_end

        def interrupt(self, batch, logs=None):
            if int(self.model.step) == at:
                self._signal = 15
            original(self, batch, logs)

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "on_train_batch_end", interrupt)
            with pytest.raises(KeyboardInterrupt, match=f"at step {at}"):
                train(config)
        train(config)
        for a, b in zip(
            self.weights(whole.run.model_dir, whole), self.weights(config.run.model_dir, config), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        nets = [load_net(c.run.model_dir) for c in (whole, config)]
        assert weights_sha256(nets[0]) == weights_sha256(nets[1])  # of the averages
        assert_same_records(whole, config)

    @pytest.mark.slow
    def test_after_a_signal_between_alarms(self, tmp_path, monkeypatch, data_dir):
        """The guard resumes with its windows and its good state, and turns back to where it would have."""
        alarms, original = {3, 6}, Guard._look

        def look(self, logs):
            alarm = original(self, logs)
            return _Alarm("gap", 9.0, 1.0) if self.model.steps_taken in alarms else alarm

        monkeypatch.setattr(Guard, "_look", look)
        quiet = {"robust_every": 0, "images_every": 0, "ema_momentum": 0.9}
        whole = small(tmp_path, method="jem", model_dir=str(tmp_path / "whole"), **quiet)
        config = replace(whole, model_dir=str(tmp_path / "parts"))
        train(whole)
        noted = Checkpoints.on_train_batch_end

        def interrupt(self, batch, logs=None):
            if int(self.model.step) == 5:
                self._signal = 15
            noted(self, batch, logs)

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "on_train_batch_end", interrupt)
            with pytest.raises(KeyboardInterrupt, match="at step 5"):
                train(config)
        assert (tmp_path / "parts" / "guard-5.npz").exists()
        train(config)
        a, b = (self.weights(c.run.model_dir, c) for c in (whole, config))
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)
        events = [read_events(str(tmp_path / name / "guard.json")) for name in ("whole", "parts")]
        assert events[0] == events[1]
        assert [event.restored_step for event in events[1]] == [0, 0]

    def test_after_a_kill_between_checkpoints(self, whole, tmp_path, monkeypatch):
        """What a killed process leaves: the state of an earlier step beside files of a later one."""
        config = replace(whole, model_dir=str(tmp_path / "run"), checkpoint_steps=3)

        def die(self, batch, logs=None):
            if int(self.model.step) == 7:
                raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(Board, "on_train_batch_end", die)
            with pytest.raises(MemoryError):
                train(config)
        train(config)
        for a, b in zip(
            self.weights(whole.run.model_dir, whole), self.weights(config.run.model_dir, config), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        assert_same_records(whole, config)


def assert_same_records(whole, config):
    """The history, the records of energies and the last logs are those of a run without interruption, to the bit."""
    for name in ("history.json", "energy_changes.npz"):
        a, b = (pathlib.Path(c.run.model_dir, name).read_bytes() for c in (whole, config))
        assert a == b, name
    a, b = (json.loads(pathlib.Path(c.run.model_dir, "train.json").read_text()) for c in (whole, config))
    assert a["logs"] == b["logs"]


def _restored(config, folder):
    data = build.dataset(config.data)
    net = build.net(config.net, data.image_shape, data.num_classes, precision=config.run.precision)
    model = EnergyClassifier(net, config.method)
    model.compile(build.optimizer(config.optimizer, 4, 2, model.adjustments), metrics=["accuracy"])
    assert Checkpoints(folder).restore(model) == 8
    return model


class TestBadInput:
    def test_a_model_dir_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ValueError, match="cannot write in --model_dir"):
            train(small(tmp_path, model_dir=str(tmp_path / "file" / "run")))

    def test_no_model_dir(self, tmp_path):
        with pytest.raises(ValueError, match="set --model_dir"):
            train(small(tmp_path, model_dir=""))

    def test_a_batch_larger_than_the_data(self, tmp_path):
        with pytest.raises(ValueError, match="at most 1260"):
            train(small(tmp_path, batch_size=1300, buffer_size=2000))
        assert not (tmp_path / "run").exists()

    def test_a_net_that_cannot_be_built_leaves_the_folder_free(self, tmp_path):
        config = small(tmp_path, method="standard", net="wide_resnet", depth=11)
        with pytest.raises(ValueError, match="6 n"):
            train(config)
        assert os.listdir(tmp_path / "run") == [".jeat_tf.lock"]

    def test_a_damaged_checkpoint(self, tmp_path):
        config = small(tmp_path, method="standard", epochs=1)
        train(config)
        path = tmp_path / "run" / "last.weights.h5"
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ValueError, match=r"cannot read the checkpoint .*500 bytes, not readable.*no intact"):
            train(config)

    def test_a_foreign_config_file(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").write_text('{"model": "gan"}')
        with pytest.raises(ValueError, match=r"config.json .*TrainConfig"):
            train(small(tmp_path))

    def test_a_diverging_run_keeps_its_last_good_checkpoint(self, tmp_path):
        config = small(tmp_path, method="standard", epochs=3)
        train(replace(config, epochs=1))
        good = (tmp_path / "run" / "last.weights.h5").read_bytes()
        shutil.copytree(tmp_path / "run", tmp_path / "again")
        watched = replace(config, model_dir=str(tmp_path / "again"), max_gradient_norm=1e-9, guard="stop")
        (tmp_path / "again" / "config.json").write_text(to_json(watched))
        with pytest.raises(DivergenceError, match="step 5"):
            train(watched)
        assert (tmp_path / "again" / "last.weights.h5").read_bytes() == good


def test_recoveries_are_in_the_result_and_the_run_goes_on(tmp_path):
    """An alarm at every step: two recoveries, then the run is stopped, and says so."""
    config = small(tmp_path, method="jem", max_gradient_norm=1e-9, guard_recoveries=2, guard_energy_l2=0.1, epochs=1)
    with pytest.raises(DivergenceError, match="step 3: gradient_norm .* after 2 recoveries"):
        train(replace(config, robust_every=0, images_every=0))
    events = read_events(str(tmp_path / "run" / "guard.json"))
    assert [(event.step, event.action) for event in events] == [(1, "recover"), (2, "recover"), (3, "stop")]
    assert [event.chain_rounds for event in events] == [2, 4, 4]
    assert [event.energy_l2 for event in events] == pytest.approx([0.1, 0.2, 0.2])
    assert not (tmp_path / "run" / "train.json").exists()  # which says that a run came to its end


def test_pseudo_labels_come_from_a_teacher_trained_on_the_labelled_part(tmp_path):
    config = small(tmp_path, method="standard", labelled_percent=30, pseudo_labels="self", robust_every=0)
    result = train(replace(config, images_every=0, epochs=1))
    assert result.steps == 378 // 150
    teacher = json.loads((tmp_path / "run" / "teacher" / "train.json").read_text())
    assert teacher["method"] == "standard"
    assert teacher["weights_sha256"] == result.teacher.weights_sha256 != result.weights_sha256
    assert 0 < result.teacher.accuracy < 1


def test_a_plan_measures_and_writes_nothing(tmp_path, monkeypatch):
    config = small(tmp_path, method="pgd_at", attack_steps=3, epochs=5)
    found = plan(config)
    assert not (tmp_path / "run").exists()
    assert found.steps == 20
    assert found.passes_per_step == Passes(4, 3, 1)
    assert found.basis == "median of 9 steps"
    assert found.hours * 3600 == pytest.approx(20 * found.seconds_per_step)
    monkeypatch.setattr("jeat_tf.train.planning._LONGEST_TIMED", 0.0)
    guessed = plan(config)
    assert guessed.basis == "FLOPs of a step at the speed of a gradient of 4 images"
    assert 0 < guessed.seconds_per_step < 60


def test_a_plan_knows_of_the_teacher(tmp_path):
    config = small(tmp_path, method="trades", labelled_percent=30, pseudo_labels="self", epochs=3)
    found = plan(config)
    assert found.steps == 3 * (378 // 150)
    assert found.teacher_hours > 0
    assert found.hours * 3600 == pytest.approx(found.steps * found.seconds_per_step + 3600 * found.teacher_hours)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"monitor": "val_acuracy"}, 'received "val_acuracy"; did you mean val_accuracy'),
        ({"monitor": "val_accuracy", "validation_percent": 0}, "without validation images"),
        ({"monitor": "gap"}, "received"),
        ({"monitor": "accuracy", "method": "pgd_at"}, 'received "accuracy"; did you mean .*adv_accuracy'),
    ],
)
def test_a_log_that_there_will_not_be_cannot_be_monitored(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(small(tmp_path, **{"method": "standard"} | settings))
    assert os.listdir(tmp_path / "run") == [".jeat_tf.lock"]


@pytest.mark.parametrize("preset", [p for p in PRESETS if p.parent.name == "digits"], ids=lambda p: p.stem)
@pytest.mark.slow
def test_every_digits_preset_trains_shrunken(preset, tmp_path):
    config = parsed(TrainConfig, f"--flagfile={preset}")
    shrunken = {"epochs": 1, "robust_every": 0, "images_every": 0, "validation_percent": 0, "monitor": ""}
    shrunken |= {"labelled_percent": 50} if config.stream.labelled_percent < 100 else {}
    shrunken |= {"batch_size": 700, "model_dir": str(tmp_path), "chain_steps": 2, "buffer_size": 700}
    config = where_used(config, **shrunken)
    result = train(config)
    assert result.steps == 2 * (config.update.replays if isinstance(config.update, Free) else 1)
    assert all(np.isfinite(value) for value in result.logs.values())


@pytest.mark.parametrize("preset", [p for p in PRESETS if p.parent.name == "cifar10"], ids=lambda p: p.stem)
@pytest.mark.slow
def test_every_cifar10_preset_trains_shrunken(preset, tmp_path, cifar_like):
    config = parsed(TrainConfig, f"--flagfile={preset}")
    shrunken = SMALL | {"epochs": 1, "batch_size": 4, "checkpoint_steps": 0}
    shrunken |= {"labelled_percent": 50} if config.stream.labelled_percent < 100 else {}
    tiny = {"depth": 10, "width": 1, "flow_levels": 1, "flow_steps": 1, "flow_width": 4}
    tiny |= {"chain_start": "uniform", "chain_steps": 2, "buffer_size": 8}
    tiny |= {"dataset": cifar_like, "model_dir": str(tmp_path / "run")}
    result = train(where_used(config, **shrunken | tiny))
    assert all(np.isfinite(value) for value in result.logs.values())


@pytest.fixture(scope="module")
def cifar_like(tmp_path_factory):
    """A TFDS folder of 12 random images in CIFAR's shape."""
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    examples = {"image": rng.integers(0, 256, (12, 32, 32, 3), np.uint8), "label": np.arange(12) % 10}
    data = tf.data.Dataset.from_tensor_slices(examples)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(32, 32, 3)), "label": tfds.features.ClassLabel(num_classes=10)}
    )
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        "cifar_like",
        version="1.0.0",
        features=features,
        split_datasets={"train": data, "test": data},
        data_dir=str(tmp_path_factory.mktemp("cifar")),
    )
    return str(builder.data_path)


# Settings -> steps of an epoch; forward passes, gradients of images and of weights of a step, by hand.
CHOICES = [
    ({"method": "jem", "norm": "batch", "chain_view": "training"}, 4, (2 + 2, 2, 2)),
    (
        {
            "method": "pgd_at",
            "attack_steps": 1,
            "precision": "mixed_bfloat16",
            "optimizer": "sgd",
            "weight_decay": 1e-4,
            "attack_norm": "l2",
        },
        4,
        (1 + 1, 1, 1),
    ),
    (
        {"method": "standard", "net": "wide_resnet", "depth": 10, "width": 1, "warmup_steps": 2, "schedule": "cosine"},
        4,
        (1, 0, 1),
    ),
    # Images without labels are classified first, to be attacked from that class; p(x) has a pass of its own.
    ({"method": "jem", "labelled_percent": 50, "separate_marginal": True}, 2, (1 + 2 + 3, 2, 3)),
    (
        {"method": "jem", "class_conditional": True, "joint_weight": 1.0, "energy_l2": 0.1, "chain": "split_sgld"},
        4,
        (2 + 2, 2, 2),
    ),
    (
        {
            "method": "standard",
            "update": "free",
            "free_replays": 4,
            "schedule": "cyclic",
            "clip_norm": 1.0,
            "accumulate_steps": 2,
        },
        16,
        (1, 1, 1),
    ),
    ({"method": "flow", "net": "glow", "flow_levels": 1, "flow_steps": 1, "flow_width": 4}, 4, (1, 0, 1)),
    ({"method": "jem", "chain": "momentum", "chain_decay": 0.5, "update": "awp"}, 4, (2 + 4, 2, 4)),
]


@pytest.mark.parametrize(
    ("settings", "steps", "passes"),
    CHOICES,
    ids=lambda s: "-".join(map(str, s.values())) if isinstance(s, dict) else "",
)
def test_choices_work_together(settings, steps, passes, tmp_path):
    config = small(tmp_path, epochs=1, images_every=0, robust_every=0, **settings)
    result = train(config)
    assert result.steps == steps
    assert dataclasses.astuple(result.passes_per_step) == passes
    assert all(np.isfinite(value) for value in result.logs.values())
    keras.utils.set_random_seed(config.run.seed)
    untrained = build.net(config.net, (8, 8, 1), 10, precision=config.run.precision).trainable_weights
    net = load_net(config.run.model_dir)
    assert all(np.any(a.numpy() != b.numpy()) for a, b in zip(untrained, net.trainable_weights, strict=True))
    halves = any(layer.compute_dtype == "bfloat16" for layer in net.layers)
    assert halves == (config.run.precision == "mixed_bfloat16")
