"""Labels of other images are kept when they are asked for, and refused where they are no classes of the data set."""

import numpy as np
import pytest

from jeat_tf.config import build
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.runs.samples import SampleFolder, Shard, Spent
from jeat_tf.train.images import steps_in_epoch, stream, training_images
from jeat_tf.train.run import train
from tests.made import sample_identity


def settings(**given):
    return replace(TrainConfig(), **{"method": "trades", "batch_size": 20} | given)


@pytest.fixture(scope="module")
def digits():
    return build.dataset(TrainConfig().data)


@pytest.fixture
def file(tmp_path):
    images = np.linspace(0, 1, 40 * 64, dtype=np.float32).reshape(40, 8, 8, 1)
    path = tmp_path / "samples-00000-of-00001.npz"
    np.savez(path, images=images, labels=np.arange(40) % 10)
    return str(path)


def test_labels_are_kept_and_images_take_the_type_of_the_data_set(file, digits):
    images = training_images(settings(extra_dataset=file, extra_labels=True), digits)
    assert images.extra[0].dtype == images.labelled[0].dtype == np.uint8
    assert images.extra[0].max() == 255
    np.testing.assert_array_equal(images.extra[1], np.arange(40) % 10)
    without = training_images(settings(extra_dataset=file), digits)
    assert set(without.extra[1]) == {-1}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_they_are_their_share_of_every_batch(file, digits, share):
    config = settings(extra_dataset=file, extra_labels=True, extra_share=share)
    images = training_images(config, digits)
    x, labels = next(iter(stream(config, digits, images, first_step=0)))
    own = round(20 * (1 - share))
    assert steps_in_epoch(config, images) == 1260 // own
    assert np.all(labels >= 0)
    assert all(np.abs(images.extra[0] - 255 * image).max((1, 2, 3)).min() < 1 for image in x[own:].numpy())


def test_a_net_trains_on_its_own_samples_with_smoothed_labels_and_an_average(tmp_path):
    folder = SampleFolder(str(tmp_path / "samples"))
    (tmp_path / "samples").mkdir()
    folder.begin(sample_identity(6), resume=True)
    shard = Shard(np.full((6, 8, 8, 1), 1.2, np.float32), np.array([0, 1, 2, 3, 4, 5]))
    folder.write(0, 1, shard, {"trace_step": np.array([0])}, Spent(6, 1.0, 1.0), format="npz")
    config = settings(
        extra_dataset=str(tmp_path / "samples"), extra_labels=True, extra_share=0.3, label_smoothing=0.1,
        activation="swish", ema_momentum=0.9, model_dir=str(tmp_path / "run"), max_steps=2, epochs=1, images_every=0,
        robust_every=0, attack_steps=1,
    )  # fmt: skip
    assert train(config).steps == 2


@pytest.mark.parametrize(
    ("labels", "message"), [(np.full(40, 10), "no classes of --dataset.*0..9"), (np.full(40, -1), "0 and above")]
)
def test_labels_outside_the_classes_are_refused(file, digits, labels, message):
    with np.load(file) as arrays:
        images = arrays["images"]
    np.savez(file, images=images, labels=labels)
    with pytest.raises(ValueError, match=message):
        training_images(settings(extra_dataset=file, extra_labels=True), digits)


def test_classes_of_other_names_are_refused(file, digits):
    with np.load(file) as arrays:
        np.savez(file, **arrays, class_names=np.array([f"class {k}" for k in range(10)]))
    with pytest.raises(ValueError, match="expected the classes of --dataset"):
        training_images(settings(extra_dataset=file, extra_labels=True), digits)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"extra_labels": True}, "is not given"),
        ({"extra_labels": True, "extra_dataset": "x.npz", "labelled_percent": 50}, "use one of them"),
        ({"extra_labels": True, "extra_dataset": "x.npz", "pseudo_labels": "self"}, "without --extra_labels"),
    ],
)
def test_settings_that_do_not_belong_together(given, message):
    with pytest.raises(ValueError, match=message):
        settings(**given)
