"""Images of one's own: folders and arrays, read as any other data set."""

import types
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import jeat_tf.train.run
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.shared import Data
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.data.arrays import from_arrays
from jeat_tf.data.augment import usual_augmentation
from jeat_tf.data.datasets import open_dataset, open_unlabelled, split_names
from jeat_tf.data.image_data import TfdsImages, resized
from jeat_tf.data.labelled import open_labelled
from jeat_tf.evaluate.density import measure
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.prepare.run import prepare
from jeat_tf.sample.run import sample
from jeat_tf.train.run import train

CLASSES = ("dark", "light")


def picture(value, shape=(8, 8), mode="L"):
    grey = np.clip(value + np.random.default_rng(int(value)).integers(-20, 20, shape), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert(mode)


def write_folder(root, count=12, mode="L", shape=(8, 8)):
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(40 + 160 * label + i, shape, mode).save(root / name / f"{i}.png")
    return str(root)


def arrays(count=24):
    labels = np.arange(count) % 2
    return np.stack([np.asarray(picture(40 + 160 * y + i))[..., None] for i, y in enumerate(labels)]), labels


def settings_of(folder, **more):
    return {"method": "standard", "epochs": 2, "batch_size": 8, "robust_every": 0, "images_every": 0} | {
        "learning_rate": 1e-2,
        "model_dir": str(folder),
        **more,
    }


class TestFolders:
    def test_classes_are_folders_and_pixels_are_kept(self, tmp_path):
        data = open_dataset(write_folder(tmp_path / "own"))
        assert (data.class_names, data.image_shape, dict(data.splits)) == (CLASSES, (8, 8, 1), {"train": 24})
        images, labels = data.arrays("train")
        stored = {
            name: {np.asarray(Image.open(p)).tobytes() for p in (tmp_path / "own" / name).iterdir()} for name in CLASSES
        }
        assert all(image.tobytes() in stored[CLASSES[label]] for image, label in zip(images, labels, strict=True))
        assert len({image.tobytes() for image in images}) == 24
        assert set(labels[:8]) == {0, 1}  # mixed, so that the first few are of all classes
        np.testing.assert_array_equal(images, open_dataset(str(tmp_path / "own")).arrays("train")[0])

    def test_agrees_with_keras(self, tmp_path):
        import keras

        folder = write_folder(tmp_path / "own", mode="RGB", shape=(9, 7))
        theirs = keras.utils.image_dataset_from_directory(folder, image_size=(9, 7), batch_size=None, verbose=False)
        ours, labels = open_dataset(folder).arrays("train")
        want = {(np.asarray(x, np.uint8).tobytes(), int(y)) for x, y in theirs}
        assert {(x.tobytes(), int(y)) for x, y in zip(ours, labels, strict=True)} == want

    def test_folders_named_after_splits_are_splits(self, tmp_path):
        write_folder(tmp_path / "train")
        write_folder(tmp_path / "val", count=3)
        write_folder(tmp_path / "test", count=2)
        data = open_dataset(str(tmp_path))
        assert dict(data.splits) == {"train": 24, "test": 4, "validation": 6}
        assert data.size("train[:50%]+test") == 16
        with pytest.raises(ValueError, match='no split "tset"'):
            data.size("tset")

    def test_resizing_is_said_and_done(self, tmp_path):
        folder = write_folder(tmp_path / "own")
        picture(99, (16, 12)).save(tmp_path / "own" / "dark" / "wide.png")
        with pytest.raises(ValueError, match=r"images of one size, received 8x8 and 16x12 .*--image_size=HxW"):
            open_dataset(folder)
        data = open_dataset(folder, image_size=(6, 5))
        assert data.image_shape == (6, 5, 1)
        assert data.arrays("train")[0].shape == (25, 6, 5, 1)

    def test_shrinking_is_the_mean_and_keeps_the_type(self):
        image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 10
        small = resized(tf.constant(image), (1, 1)).numpy()
        assert small.dtype == np.uint8
        assert abs(int(small.item()) - image.mean()) <= 1

    def test_palettes_and_transparency_are_read_as_pillow_shows_them(self, tmp_path):
        for label, name in enumerate(CLASSES):
            (tmp_path / f"{name} ü").mkdir()
            colours = picture(40 + 160 * label, mode="RGB").convert("P")
            colours.save(tmp_path / f"{name} ü" / "a b.png", transparency=0)
            picture(99, mode="LA").save(tmp_path / f"{name} ü" / "c.PNG")
        data = open_dataset(tmp_path)
        assert (data.class_names, data.image_shape) == (("dark ü", "light ü"), (8, 8, 4))
        stored = {np.asarray(Image.open(p).convert("RGBA")).tobytes() for p in tmp_path.glob("*/*")}
        assert {image.tobytes() for image in data.arrays("train")[0]} == stored

    def test_colour_in_one_image_makes_all_of_three_channels(self, tmp_path):
        write_folder(tmp_path / "own")
        picture(99, mode="RGB").save(tmp_path / "own" / "dark" / "z.jpg")
        assert open_dataset(str(tmp_path / "own")).image_shape == (8, 8, 3)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda root: picture(9).save(root / "a.png"), "a folder for each class"),
            (lambda root: (write_folder(root), (root / "empty").mkdir()), "found none of empty"),
            (lambda root: (write_folder(root), (root / "dark" / "0.png").write_bytes(b"no")), "cannot read the image"),
            (lambda root: (write_folder(root), Image.new("I;16", (8, 8)).save(root / "dark" / "0.png")), "with 8 bits"),
            (lambda root: (write_folder(root / "train"), write_folder(root / "test"), _other(root)), "none of other"),
        ],
    )
    def test_faults_are_named(self, make, message, tmp_path):
        make(tmp_path)
        with pytest.raises(ValueError, match=message):
            open_dataset(str(tmp_path))

    def test_too_few_images_to_hold_some_out(self, tmp_path):
        data = open_dataset(write_folder(tmp_path / "own", count=1))
        with pytest.raises(ValueError, match="--validation_percent"):
            split_names(data, 1, seed=0)


def _other(root):
    (root / "test" / "other").mkdir()
    picture(1).save(root / "test" / "other" / "1.png")


class TestArrays:
    @pytest.mark.parametrize("names", [("images", "labels"), ("x", "y")])
    def test_one_set_is_for_training(self, names, tmp_path):
        images, labels = arrays()
        np.savez(tmp_path / "own.npz", **dict(zip(names, (images, labels), strict=True)))
        data = open_dataset(str(tmp_path / "own.npz"))
        assert dict(data.splits) == {"train": 24}
        np.testing.assert_array_equal(data.arrays("train[6:]")[0], images[6:])

    def test_keras_names_are_splits_and_grey_images_get_a_channel(self, tmp_path):
        images, labels = arrays()
        flat = images[..., 0]
        splits = {"x_train": flat[:20], "y_train": labels[:20], "x_test": flat[20:], "y_test": labels[20:]}
        np.savez(tmp_path / "m.npz", **splits)
        data = open_dataset(str(tmp_path / "m.npz"))
        assert dict(data.splits) == {"train": 20, "test": 4}
        assert data.image_shape == (8, 8, 1)

    def test_npy_finds_its_labels(self, tmp_path):
        images, labels = arrays()
        np.save(tmp_path / "fog.npy", images)
        with pytest.raises(ValueError, match="expected the labels of .*fog_labels.npy or .*labels.npy"):
            open_dataset(str(tmp_path / "fog.npy"))
        np.save(tmp_path / "labels.npy", labels)
        found = open_labelled(str(tmp_path / "fog.npy"), "test[20:]")
        np.testing.assert_array_equal(found.labels, labels[20:])

    def test_load_data_pairs(self):
        images, labels = arrays()
        data = from_arrays((images, labels[:, None]), (images[:4], labels[:4, None]), class_names=CLASSES)
        assert (data.class_names, data.size("test")) == (CLASSES, 4)
        with pytest.raises(ValueError, match="a name for each of 2 classes"):
            from_arrays((images, labels), class_names=("one",))

    @pytest.mark.parametrize("kind", ["U", "S"])
    def test_class_names_are_read(self, kind, tmp_path):
        images, labels = arrays()
        np.savez(tmp_path / "own.npz", images=images, labels=labels, class_names=np.array(CLASSES, kind))
        assert open_dataset(tmp_path / "own.npz").class_names == CLASSES

    def test_a_name_with_spaces_and_in_capitals_is_a_name(self, tmp_path):
        images, labels = arrays()
        np.savez(tmp_path / "a.npz", images=images, labels=labels)
        (tmp_path / "a.npz").rename(tmp_path / "ein Büro 日本.NPZ")
        assert open_labelled(str(tmp_path / "ein Büro 日本.NPZ"), "test").image_shape == (8, 8, 1)

    def test_labels_that_count_from_one_are_a_word(self):
        images, labels = arrays()
        with pytest.warns(UserWarning, match="labels of arrays are 1 to 2, and class 0 has no images.*labels - 1"):
            assert from_arrays((images, labels + 1)).num_classes == 3

    def test_what_is_no_pair_or_no_path(self):
        images, labels = arrays()
        for given in (images, {"images": images, "labels": labels}):
            with pytest.raises(ValueError, match=r"a pair \(images, labels\), received .*from_arrays\(\(images"):
                from_arrays(given, labels)
        with pytest.raises(TypeError, match="path of a data set, received ndarray; .*from_arrays"):
            open_dataset(images)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"images": np.zeros((2, 8, 8, 1))}, "no labels, but images"),
            ({"images": np.zeros((2, 8, 8, 1)), "labels": np.zeros(3, int)}, "a label for each"),
            ({"images": np.full((2, 8, 8, 1), 9.0), "labels": np.zeros(2, int)}, "divide by 255"),
            ({"images": np.zeros((2, 3, 8, 8), np.uint8), "labels": np.zeros(2, int)}, "moveaxis"),
            ({"images": np.zeros((2, 8, 8, 1)), "labels": np.array(["a", "b"])}, "integer labels"),
            ({"images": np.zeros((0, 8, 8, 1)), "labels": np.zeros(0, int)}, "received none"),
            ({"images": np.array([None, 1], object), "labels": np.zeros(2, int)}, "holds objects"),
            ({"images": np.full((2, 8, 8, 1), 65535, np.uint16), "labels": np.zeros(2, int)}, "images by 65535"),
            ({"images": np.zeros((2, 8, 8, 1)), "labels": np.arange(2) + 2**40}, "labels in 0..999999"),
            ({"images": np.zeros((2, 8, 8, 1)), "labels": 3}, "pass a list"),
            ({"images": np.zeros((2, 8, 8, 1)), "labels": np.arange(2), "class_names": ["a", "a"]}, "that differ"),
            ({"X": np.zeros((2, 8, 8, 1)), "target": np.arange(2)}, "but X, target; store np.savez"),
        ],
    )
    def test_faults_are_named(self, given, message, tmp_path):
        np.savez(tmp_path / "bad.npz", **given)
        with pytest.raises(ValueError, match=message):
            open_dataset(str(tmp_path / "bad.npz"))


class TestNames:
    @pytest.mark.parametrize("name", ["/nowhere/own.npz", "nowhere.npy", "/nowhere/folder", "./folder", "setup.py"])
    def test_a_path_that_is_not_there_is_one_sentence(self, name, data_dir):
        with pytest.raises(FileNotFoundError) as error:
            open_dataset(name, data_dir)
        assert name in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("cifar10_corrupted/gausian_noise_5", "did you mean gaussian_noise_5"),
            ("mnist/big", "has no configs"),
            ("Weird Name!", "no name of a data set"),
            ("fashionmnist", "fashion_mnist"),
        ],
    )
    def test_faults_of_a_name_are_one_sentence(self, name, message, data_dir):
        with pytest.raises(ValueError, match=message) as error:
            open_dataset(name, data_dir)
        assert "\n" not in str(error.value)

    def test_the_hint_keeps_the_config(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="--dataset=cifar10_corrupted/gaussian_noise_5 --download"):
            open_dataset("cifar10_corrupted/gaussian_noise_5", str(tmp_path))

    def test_a_config_is_in_the_name(self):
        parts = {"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(names=["a", "b"])}
        builder = types.SimpleNamespace(name="sets", data_path="", info=types.SimpleNamespace(features=parts))
        for config, name in ((None, "sets"), (types.SimpleNamespace(name="fog_5"), "sets/fog_5")):
            builder.builder_config = config
            assert TfdsImages(builder, ("image", "label"), None).name == name

    def test_own_images_are_not_taken_for_cifar(self):
        assert usual_augmentation("cifar_like/images.npz") == "none"
        assert usual_augmentation("cifar10_corrupted/fog_1") == "crop_flip"

    @pytest.mark.parametrize("size", ["32", "32x", "0x4", "axb"])
    def test_sizes(self, size):
        with pytest.raises(ValueError, match="--image_size=HxW"):
            Data(image_size=size)


@pytest.mark.parametrize("kind", ["folder", "uint8", pytest.param("float32", marks=pytest.mark.slow)])
def test_train_sample_and_evaluate_take_them(kind, tmp_path):
    images, labels = arrays(48)
    test_images, test_labels = arrays(10)
    if kind == "folder":
        path = write_folder(tmp_path / "own" / "train") and write_folder(tmp_path / "own" / "test", 5)
        path = str(tmp_path / "own")
    else:
        path = str(tmp_path / "own.npz")
        scale = 1 if kind == "uint8" else np.float32(1 / 255)
        np.savez(path, x_train=images * scale, y_train=labels, x_test=test_images * scale, y_test=test_labels)
    run = str(tmp_path / "run")
    result = train(replace(TrainConfig(), dataset=path, **settings_of(run)))
    assert result.dataset == path
    assert len(result.data_sha256) == 64
    assert result.class_names == (CLASSES if kind == "folder" else ())
    report = evaluate(replace(EvaluateConfig(), model=run, attacks="clean,pgd5", epsilon="0.05", audit_images=0))
    assert report.results[0].images == 10
    assert report.results[0].accuracy == 1.0  # dark against light
    drawn = sample(
        replace(SampleConfig(), model=run, recipe="chain", start="class_gaussian", stages="none", num=4, start_rank=2)
    )
    assert drawn.dataset == path


def test_one_class_is_nothing_to_learn(tmp_path):
    images, labels = arrays()
    np.savez(tmp_path / "own.npz", images=images, labels=0 * labels)
    with pytest.raises(ValueError, match="at least 2 classes in .*own.npz, received 1"):
        train(replace(TrainConfig(), dataset=str(tmp_path / "own.npz"), **settings_of(tmp_path / "run")))


def test_a_run_is_not_tested_on_its_training_images_without_a_word(tmp_path):
    own = write_folder(tmp_path / "own")
    run = str(tmp_path / "run")
    train(replace(TrainConfig(), dataset=own, **settings_of(run, epochs=1)))
    settings = {"model": run, "attacks": "clean", "epsilon": "0.1"}
    for given in ({}, {"dataset": own + "/"}):
        with pytest.raises(ValueError, match="on which the run was trained"):
            evaluate(replace(EvaluateConfig(), **settings, **given))
    report = evaluate(replace(EvaluateConfig(), **settings, split="train"))
    assert report.results[0].images == 24
    other = write_folder(tmp_path / "other")
    (tmp_path / "other" / "dark").rename(tmp_path / "other" / "mid")
    with pytest.raises(ValueError, match=r"trained on, dark, light, received light, mid"):
        evaluate(replace(EvaluateConfig(), **settings, dataset=other))


@pytest.mark.parametrize("names", [("x_{}",), ("{}_images",), ("images_{}", "labels_{}")])
@pytest.mark.parametrize("split", ["train", "test", "test[:2]"])
def test_images_without_labels_are_those_of_the_split_that_is_asked_for(names, split, tmp_path):
    arrays = {"test": np.zeros((3, 8, 8, 1), np.uint8), "train": np.full((5, 8, 8, 1), 9, np.uint8)}
    np.savez(tmp_path / "a.npz", **{names[0].format(one): images for one, images in arrays.items()})
    whole = split.partition("[")[0]
    for one, images in arrays.items():
        for i, image in enumerate(images):
            (tmp_path / "folder" / one / "cat").mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(tmp_path / "folder" / one / "cat" / f"{i}.png")
    for place in ("a.npz", "folder"):
        expected = arrays[whole][:2] if split.endswith("[:2]") else arrays[whole]
        np.testing.assert_array_equal(open_unlabelled(tmp_path / place, split).images, expected)
    np.savez(tmp_path / "b.npz", x_test=arrays["test"], images=arrays["train"])
    np.testing.assert_array_equal(open_unlabelled(tmp_path / "b.npz", "train").images, arrays["train"])
    np.savez(tmp_path / "c.npz", x_test=arrays["test"])
    np.testing.assert_array_equal(open_unlabelled(tmp_path / "c.npz", "train").images, arrays["test"])


@pytest.fixture
def by_class(tmp_path):
    """A file of 10 classes of 60 images each, class by class."""
    labels = np.repeat(np.arange(10), 60)
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "sorted.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(tmp_path / "sorted.npz")


def test_what_is_followed_in_training_is_of_all_classes_though_a_file_lies_class_by_class(
    by_class, tmp_path, monkeypatch
):
    followed = []
    monkeypatch.setattr("jeat_tf.train.run._ROBUST_IMAGES", 40)
    monkeypatch.setattr("jeat_tf.train.run._ENERGY_IMAGES", 40)
    for name in ("RobustAccuracy", "EnergyChanges", "OverfittingAlarm"):
        plain = getattr(jeat_tf.train.run, name)

        def seen(images, labels, *args, plain=plain, **more):
            followed.append(labels)
            return plain(images, labels, *args, **more)

        monkeypatch.setattr(f"jeat_tf.train.run.{name}", seen)
    given = settings_of(str(tmp_path / "run"), epochs=1) | {"method": "pgd_at", "validation_percent": 20}
    every = {"robust_every": 1, "energy_changes_every": 5, "overfitting_every": 5}
    train(replace(TrainConfig(), dataset=by_class, **given | every))
    assert len(followed) == 3
    for labels in followed:
        assert len(labels) == 40
        assert len(set(labels.tolist())) > 5  # the first 40 lie in three or four


def test_the_first_images_of_a_file_that_lies_class_by_class_are_said_to_be_of_few_classes(by_class):
    with pytest.warns(UserWarning, match="first 120 of the 600 images of test are of 2 of its 10 classes"):
        open_labelled(by_class, "test", count=120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_labelled(by_class, "test", count=20)  # too few to expect all classes
        open_labelled(by_class, "test")


def test_outside_images_need_no_labels(run, tmp_path):
    images = np.random.default_rng(0).random((20, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "a.npz", images=images)
    np.save(tmp_path / "b.npy", images)
    (tmp_path / "flat").mkdir()
    for i in range(20):
        picture(i * 10, (10, 10)).save(tmp_path / "flat" / f"{i}.png")
    assert len(open_unlabelled(str(tmp_path / "flat"), "test").images) == 20
    names = " , ".join(str(tmp_path / name) for name in ("a.npz", "b.npy", "flat")) + ", "
    config = replace(EvaluateConfig(), model=run, ood=names, num_images=20, output_dir=str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"--ood=.*flat, received \[10, 10, 1\]"):
        measure(config)
    report = measure(replace(config, image_size="8x8"))["ood"]
    assert all(str(tmp_path / name) in str(report) for name in ("a.npz", "b.npy", "flat"))


def test_prepare_says_what_is_in_a_folder(tmp_path):
    summary = prepare(replace(_prepare_config(), dataset=write_folder(tmp_path / "own")))
    assert summary["class_names"] == list(CLASSES)
    assert summary["splits"]["train"]["images_of_class"] == {"dark": 12, "light": 12}


def _prepare_config():
    from jeat_tf.config.prepare import PrepareConfig

    return PrepareConfig()


@pytest.mark.parametrize("white", [1, 16])
def test_bytes_whose_white_is_not_255_are_told(white):
    images, labels = np.zeros((20, 8, 8, 1), np.uint8), np.arange(20) % 2
    images[:, 2:4] = white
    with pytest.warns(UserWarning, match=f"bytes of at most {white}, which of 255 is nearly black"):
        from_arrays((images, labels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays((images * (255 // white), labels))
        from_arrays((images / np.float32(white), labels))


def test_a_split_without_images_is_named(tmp_path):
    write_folder(tmp_path / "own" / "train")
    (tmp_path / "own" / "test" / "dark").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected images in .*test, found none"):
        open_dataset(tmp_path / "own")


def test_a_part_of_a_file_is_recorded_as_that_part(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 8, 8, 1), np.float32), labels=np.arange(10))
    found = open_labelled(tmp_path / "a.npz", "test[50%:]")
    assert found.origin == r"images 0 to 4 of the 5 of test[50%:] of the file, in file order"
    np.testing.assert_array_equal(found.labels, [5, 6, 7, 8, 9])
    both = open_labelled(tmp_path / "a.npz", "test[:20%]+test[80%:]")
    np.testing.assert_array_equal(both.labels, [0, 1, 8, 9])
    folder = open_labelled(write_folder(tmp_path / "folder"), "test")
    assert folder.origin.endswith("of the folder, in one fixed random order")


def test_a_batch_of_one_cannot_hold_own_images_and_others(tmp_path):
    images = np.zeros((20, 8, 8, 1), np.float32)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(20) % 2)
    np.savez(tmp_path / "more.npz", images=images)
    given = settings_of(tmp_path / "run", dataset=str(tmp_path / "own.npz"), batch_size=1)
    with pytest.raises(ValueError, match="expected --batch_size of at least 2, for own images and others, received 1"):
        train(replace(TrainConfig(), **given | {"method": "jem", "extra_dataset": str(tmp_path / "more.npz")}))
