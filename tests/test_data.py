import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from jeat_tf.core.checks import check_images, check_labels
from jeat_tf.data.augment import AUGMENTATIONS, usual_augmentation
from jeat_tf.data.datasets import as_floats, open_dataset, split_names
from jeat_tf.data.stream import evaluation_batches, training_stream
from tests.conftest import seed


class TestDigits:
    def test_is_whole_and_stratified(self, digits):
        assert digits.image_shape == (8, 8, 1)
        assert digits.class_names == tuple("0123456789")
        assert (digits.size("train"), digits.size("test")) == (1400, 397)
        images, labels = digits.arrays("test")
        assert images.dtype == np.uint8
        assert images.max() == 255
        assert np.bincount(labels).min() >= 38

    def test_is_scikit_learns_own(self, digits):
        from sklearn.datasets import load_digits

        ours = np.concatenate([digits.arrays(split)[0].reshape(-1, 64) for split in ("train", "test")])
        theirs = load_digits().data
        order = [np.lexsort(np.round(x * scale).T) for x, scale in ((ours, 16 / 255), (theirs, 1))]
        np.testing.assert_array_equal(np.round(ours * (16 / 255))[order[0]], theirs[order[1]])

    def test_opens_as_a_folder_too(self, digits):
        again = open_dataset(str(digits.builder.data_path))
        np.testing.assert_array_equal(again.arrays("test")[0], digits.arrays("test")[0])


class TestSplits:
    def test_training_and_validation_share_nothing_and_miss_nothing(self, digits):
        training, validation = split_names(digits, 10, seed=0)
        assert digits.size(training) + digits.size(validation) == 1400
        rows = [digits.arrays(s)[0].reshape(-1, 64) for s in (training, validation, "train")]
        np.testing.assert_array_equal(
            np.sort(np.concatenate(rows[:2]).view("V64"), axis=0), np.sort(rows[2].view("V64"), axis=0)
        )

    def test_is_a_function_of_its_seed(self, digits):
        assert split_names(digits, 10, seed=0) == split_names(digits, 10, seed=0)
        assert split_names(digits, 10, seed=0) != split_names(digits, 10, seed=1)

    def test_no_validation(self, digits):
        assert split_names(digits, 0, seed=0) == ("train", None)

    def test_out_of_range(self, digits):
        with pytest.raises(ValueError, match="0..90"):
            split_names(digits, 100, seed=0)


class TestStream:
    def arrays(self, count=50):
        return np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1), np.arange(count)

    def take(self, steps, **kwargs):
        stream = training_stream(*self.arrays(), batch_size=16, **kwargs)
        return [labels.tolist() for _, labels in stream.take(steps).as_numpy_iterator()]

    def test_an_epoch_shows_no_image_twice_and_the_next_is_in_another_order(self):
        batches = self.take(6, seed=0)
        first, second = sum(batches[:3], []), sum(batches[3:], [])
        assert len(set(first)) == len(set(second)) == 48
        assert first != second

    def test_starting_later_is_the_same_stream(self):
        assert self.take(9, seed=0)[4:] == self.take(5, seed=0, first_step=4)

    def test_order_is_a_function_of_the_seed(self):
        assert self.take(3, seed=0) == self.take(3, seed=0)
        assert self.take(3, seed=0) != self.take(3, seed=1)

    def test_images_go_with_their_labels_in_unit_range(self):
        images, labels = self.arrays()
        for x, y in training_stream(images, labels, batch_size=16, seed=0).take(3).as_numpy_iterator():
            np.testing.assert_allclose(x, images[y] / 255)

    def test_augmentation_is_repeatable_and_varies_over_epochs(self):
        images, labels = np.tile(np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1), (8, 1, 1, 1)), np.arange(8)

        def take(first_step=0):
            stream = training_stream(
                images, labels, batch_size=8, seed=0, first_step=first_step, augment=AUGMENTATIONS["crop_flip"]
            )
            return [x for x, _ in stream.take(3 - first_step).as_numpy_iterator()]

        whole = take()
        np.testing.assert_array_equal(whole[2], take(first_step=2)[0])
        assert np.any(whole[0] != whole[1])

    def test_a_separate_marginal_stream_is_plain_and_in_its_own_order(self):
        images, labels = self.arrays()
        stream = training_stream(
            images, labels, batch_size=16, seed=0, separate_marginal=True, augment=lambda x, seed: x * 0
        )
        (x, marginal), _ = next(stream.as_numpy_iterator())
        assert np.all(x == 0)
        assert set(marginal.reshape(16, -1)[:, 0] * 255) <= set(images.reshape(50, -1)[:, 0])

    def test_extra_images_are_their_share_of_every_batch_and_resume_with_it(self):
        images, labels = self.arrays()
        extra = images[:30], np.full(30, -1)
        served = self.take(12, seed=0, extra=extra, extra_share=0.25)
        assert all(batch[12:] == [-1] * 4 and min(batch[:12]) >= 0 for batch in served)
        assert len(set(sum((batch[:12] for batch in served[:4]), []))) == 48
        assert self.take(7, seed=0, first_step=5, extra=extra, extra_share=0.25) == served[5:]

    def test_replays_serve_each_batch_so_often_from_any_step_on(self):
        once = self.take(4, seed=0)
        replayed = self.take(12, seed=0, replays=3)
        assert replayed == [batch for batch in once for _ in range(3)]
        assert self.take(8, seed=0, replays=3, first_step=4) == replayed[4:]

    def test_a_batch_larger_than_the_data_is_refused(self):
        with pytest.raises(ValueError, match="at most 50 images"):
            training_stream(*self.arrays(), batch_size=51, seed=0)


def test_evaluation_batches_keep_order_and_the_last_few(digits):
    batches = list(evaluation_batches(digits.split("test"), 100).as_numpy_iterator())
    assert [len(y) for _, y in batches] == [100, 100, 100, 97]
    images, labels = digits.arrays("test")
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), labels)
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), as_floats(images))


def test_the_padding_of_the_robust_training_codes_is_zeros():
    image = tf.ones([8, 8, 1])
    moved = np.stack([AUGMENTATIONS["zero_crop_flip"](image, seed(i)) for i in range(16)])
    assert set(moved.ravel()) == {0.0, 1.0}
    assert moved.sum(axis=(1, 2, 3)).min() >= 4 * 4  # at most 4 rows and columns come from outside
    mirrored = np.stack([AUGMENTATIONS["crop_flip"](image, seed(i)) for i in range(16)])
    assert set(mirrored.ravel()) == {1.0}


@pytest.mark.parametrize("name", ["crop", "crop_flip"])
def test_augmentations_move_pixels_without_changing_their_values(name):
    image = tf.reshape(tf.range(64, dtype=tf.float32) / 64, [8, 8, 1])
    moved = np.stack([AUGMENTATIONS[name](image, seed(i)) for i in range(8)])
    assert moved.shape == (8, 8, 8, 1)
    assert set(moved.ravel()) <= set(np.ravel(image))
    assert len({m.tobytes() for m in moved}) > 4


def test_usual_augmentation_follows_the_papers():
    names = ("cifar10", "cifar100", "svhn_cropped", "digits")
    assert [usual_augmentation(n) for n in names] == ["crop_flip", "crop_flip", "crop", "none"]


class TestNames:
    def test_an_unknown_name_is_told_the_nearest(self, data_dir):
        with pytest.raises(ValueError, match=r'unknown data set "cifar1".*cifar10'):
            open_dataset("cifar1", data_dir)

    def test_a_misspelt_builtin_is_told_too(self, data_dir):
        with pytest.raises(ValueError, match="digits"):
            open_dataset("digit", data_dir)

    def test_nothing_prepared_and_no_download_says_what_to_do(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"jeat_tf.prepare --dataset=cifar10 --download"):
            open_dataset("cifar10", str(tmp_path))

    def test_a_folder_that_is_no_data_set(self, tmp_path):
        with pytest.raises(ValueError, match="dataset_info.json"):
            open_dataset(str(tmp_path))

    def test_a_split_that_is_not_there(self, digits):
        with pytest.raises(ValueError, match=r"no split \"validation\".*test"):
            digits.size("validation")

    def test_a_data_set_of_other_things_is_refused(self, tmp_path):
        folder = tfds.dataset_builders.store_as_tfds_dataset(
            "numbers",
            version="1.0.0",
            features=tfds.features.FeaturesDict({"x": tfds.features.Scalar(np.int64)}),
            split_datasets={"train": tf.data.Dataset.range(3).map(lambda i: {"x": i})},
            data_dir=str(tmp_path),
        ).data_path
        with pytest.raises(ValueError, match="not an image classification"):
            open_dataset(str(folder))

    @pytest.mark.parametrize(
        ("name", "shape", "classes"),
        [("cifar10", (32, 32, 3), 10), ("cifar100", (32, 32, 3), 100), ("svhn_cropped", (32, 32, 3), 10)],
    )
    def test_downloaded_sets_take_the_same_road(self, name, shape, classes, tmp_path):
        with tfds.testing.mock_data(num_examples=5):
            builder = tfds.builder(name, data_dir=str(tmp_path))
        from jeat_tf.data.datasets import _keys

        image_key, label_key = _keys(builder)
        assert builder.info.features[image_key].shape == shape
        assert builder.info.features[label_key].num_classes == classes


class TestChecks:
    good = np.full((3, 8, 8, 1), 0.5, np.float32)

    def test_good_input_passes(self):
        check_images(self.good)
        check_labels(np.array([0, 2, 9]), 10)

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            ((good * 510).astype(np.uint8), "divide integer images by 255"),
            (good * 510, "divide by 255"),
            (good * 4 - 3, "normalisation to a layer inside the net"),
            (np.where(good > 0, np.nan, 0), "NaN"),
            (good[0], r"\[B, H, W, C\]"),
        ],
    )
    def test_bad_images(self, images, message):
        with pytest.raises(ValueError, match=message):
            check_images(images)

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.eye(10)[:3], r"argmax"),
            (np.array([0, 1, 10]), "0..9"),
            (np.array([-1, 1, 2]), "0..9"),
            (np.array([0.0, 1.0, 2.0]), "integer labels"),
        ],
    )
    def test_bad_labels(self, labels, message):
        with pytest.raises(ValueError, match=message):
            check_labels(labels, 10)
