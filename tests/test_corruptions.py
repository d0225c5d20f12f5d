"""Common corruptions: what they do to images, the layouts they come in, and what an evaluation writes."""

import importlib.machinery
import importlib.util
import sys
import types

import numpy as np
import pytest
from PIL import Image

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.data import corruption_library
from jeat_tf.data.corrupted_sets import open_corrupted
from jeat_tf.data.corruption_library import corrupt_by_library
from jeat_tf.data.corruptions import CORRUPTIONS, corrupt
from jeat_tf.data.labelled import LabelledImages, Pixels
from jeat_tf.evaluate.corruption import ALEXNET
from jeat_tf.evaluate.density import measure, summary
from jeat_tf.report.measures import measured
from jeat_tf.runs.corruption_results import CorruptionResults

RNG = np.random.default_rng(0)
SMOOTH = np.stack([np.outer(np.linspace(0.2, 0.8, 16), np.linspace(1, c, 16)) for c in (0.5, 0.7, 0.9)], -1)[None]
IMAGES = np.concatenate([SMOOTH, RNG.random((3, 16, 16, 3))]).astype(np.float32)
GREY = LabelledImages("grey", "made", Pixels(RNG.random((6, 8, 8, 1), np.float32)), np.arange(6) % 3, ("a", "b", "c"))


class TestCorruptions:
    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_each_changes_images_stays_on_8_bits_and_harms_more_when_more_severe(self, name):
        found = np.stack([corrupt(IMAGES, name, severity) for severity in range(1, 6)])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found * 255, np.rint(found * 255), atol=1e-4)
        assert 0 <= found.min() <= found.max() <= 1
        change = np.abs(found - IMAGES).mean(axis=(1, 2, 3, 4))
        assert change[4] > 0.01
        if name == "saturate":  # its first two severities take colour away, the others add some
            assert change[1] > change[0]
            assert change[4] > change[3] > change[2]
        else:
            assert (np.diff(change) > 0).all()

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_an_image_is_corrupted_the_same_in_any_company(self, name):
        together = corrupt(IMAGES, name, 3, seed=1)
        np.testing.assert_array_equal(corrupt(IMAGES[2:3], name, 3, seed=1), together[2:3])
        if name.endswith("_noise"):
            assert (corrupt(IMAGES, name, 3, seed=2) != together).any()

    def test_exact_ones(self):
        flat = np.full((1, 20, 20, 3), [0.2, 0.4, 0.1], np.float32)
        for name in ("gaussian_blur", "defocus_blur", "zoom_blur", "contrast", "pixelate"):
            np.testing.assert_allclose(corrupt(flat, name, 5), flat, atol=0.003)
        # Of hue, saturation and value (0.4) the value rises by 0.2: all channels by the factor 1.5.
        np.testing.assert_allclose(corrupt(flat, "brightness", 4)[0, 0, 0], [0.3, 0.6, 0.15], atol=0.003)
        # The saturation (0.75) falls to 0.3 of it.
        np.testing.assert_allclose(corrupt(flat, "saturate", 1)[0, 0, 0], [0.34, 0.4, 0.31], atol=0.003)
        noise = corrupt(np.full((1, 64, 64, 3), 0.5, np.float32), "gaussian_noise", 2)
        assert np.std(noise) == pytest.approx(0.06, abs=0.002)
        assert np.std(corrupt(np.full((1, 80, 80, 3), 0.5, np.float32), "gaussian_noise", 2)) == pytest.approx(
            0.12, 0.03
        )
        salted = corrupt(np.full((1, 64, 64, 3), 0.5, np.float32), "impulse_noise", 5)
        assert np.mean(salted == 1) == pytest.approx(0.035, abs=0.006)

    def test_a_black_image_grows_bright_and_a_grey_one_keeps_its_grey(self):
        black = np.zeros((1, 8, 8, 3), np.float32)
        np.testing.assert_allclose(corrupt(black, "brightness", 5), 0.3, atol=0.003)
        np.testing.assert_array_equal(corrupt(black + 128 / 255, "saturate", 5), np.float32(128 / 255))

    @pytest.mark.parametrize(
        ("images", "name", "severity", "message"),
        [
            (IMAGES, "gaussian_nois", 1, "unknown corruption gaussian_nois"),
            (IMAGES, "contrast", 6, "severity of 1 to 5, received 6"),
            (IMAGES[..., :2], "contrast", 1, "1 or 3"),
            (IMAGES[..., :1], "saturate", 1, "needs images with colours"),
        ],
    )
    def test_what_cannot_be(self, images, name, severity, message):
        with pytest.raises(ValueError, match=message):
            corrupt(images, name, severity)


class TestLibrary:
    """The package itself where it is installed, or else one that draws as it does: from NumPy's global generator."""

    COLOURS = RNG.random((3, 32, 40, 3)).astype(np.float32)

    @pytest.fixture(autouse=True)
    def package(self, monkeypatch):
        if importlib.util.find_spec("imagecorruptions"):
            return

        def corrupt(image, severity, corruption_name, seed=None):
            generator = np.random if seed is None else np.random.RandomState(seed)
            return np.uint8(np.clip(image + severity * generator.normal(size=image.shape), 0, 255))

        stand_in = types.ModuleType("imagecorruptions")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("imagecorruptions", None)
        stand_in.corrupt = corrupt
        monkeypatch.setitem(sys.modules, "imagecorruptions", stand_in)

    @pytest.mark.parametrize("name", corruption_library.NAMES)
    def test_an_image_is_corrupted_the_same_in_any_company(self, name):
        together = corrupt_by_library(self.COLOURS, name, 4, seed=1)
        assert together.shape == self.COLOURS.shape
        np.testing.assert_allclose(together * 255, np.rint(together * 255), atol=1e-4)
        assert np.abs(together - self.COLOURS).mean() > 0.005
        np.random.seed(5)  # noqa: NPY002
        expected = np.random.RandomState(5).random()
        np.testing.assert_array_equal(corrupt_by_library(self.COLOURS[1:2], name, 4, seed=1), together[1:2])
        assert np.random.random() == expected  # noqa: NPY002 - a caller's own draws are not moved

    def test_by_its_name_in_an_evaluation(self):
        clean = GREY._replace(images=Pixels(self.COLOURS), labels=np.arange(3))
        opened = open_corrupted("imagecorruptions", clean, only=("snow", "fog"))
        assert list(opened) == [(name, s) for name in ("snow", "fog") for s in range(1, 6)]
        np.testing.assert_array_equal(opened["fog", 2]().images[:], corrupt_by_library(self.COLOURS, "fog", 2))

    def test_what_it_does_not_take(self, monkeypatch):
        with pytest.raises(ValueError, match=r"at least 32 pixels .* received shape \[8, 8, 1\]; .*=common"):
            open_corrupted("imagecorruptions", GREY)
        with pytest.raises(ValueError, match="unknown corruption fogg"):
            corrupt_by_library(self.COLOURS, "fogg", 1)
        with pytest.raises(ValueError, match="severity of 1 to 5, received 0"):
            corrupt_by_library(self.COLOURS, "fog", 0)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match=r"pip install 'jeat_tf\[corruptions\]'"):
            open_corrupted("imagecorruptions", GREY)


class TestLayouts:
    @pytest.fixture
    def arrays(self, tmp_path):
        """A folder as CIFAR-10-C has it: severity s of image i is all s + 10 i."""
        images = np.array([[s + 10 * i] for s in range(1, 6) for i in range(6)], np.uint8)
        np.save(tmp_path / "fog.npy", np.broadcast_to(images[:, :, None, None], (30, 8, 8, 1)))
        np.save(tmp_path / "labels.npy", np.tile(np.arange(6) % 3, 5).astype(np.uint8))
        return tmp_path

    def test_arrays_hold_one_severity_after_the_other(self, arrays):
        opened = open_corrupted(str(arrays), GREY, count=4)
        assert list(opened) == [("fog", s) for s in range(1, 6)]
        images = opened["fog", 2]()
        assert images.labels.tolist() == [0, 1, 2, 0]
        np.testing.assert_allclose(images.images[:][:, 0, 0, 0] * 255, [2, 12, 22, 32], rtol=1e-6)
        np.save(arrays / "labels.npy", np.arange(6) % 3)  # one severity's labels
        assert open_corrupted(str(arrays), GREY)["fog", 5]().labels.tolist() == [0, 1, 2, 0, 1, 2]

    @pytest.mark.parametrize(
        ("file", "content", "message"),
        [
            ("fog.npy", np.zeros((29, 8, 8, 1), np.uint8), "received 29 images in .*fog.npy"),
            ("fog.npy", np.zeros((25, 8, 8, 1), np.uint8), "received 25 images in .*fog.npy and 30 labels"),
            ("fog.npy", np.zeros((30, 8, 8, 1), np.float32), "expected uint8 images .* in .*fog.npy, received float32"),
            (
                "fog.npy",
                np.zeros((30, 9, 9, 1), np.uint8),
                r"\[8, 8, 1\] as .*, received \[9, 9, 1\] in .*fog.npy",
            ),
            ("labels.npy", np.full(30, 7), "received 7 in .*labels.npy"),
            ("labels.npy", np.zeros(30, np.float32), "expected integer labels .* in .*labels.npy"),
        ],
    )
    def test_a_file_of_another_layout_is_named(self, file, content, message, arrays):
        np.save(arrays / file, content)
        with pytest.raises(ValueError, match=message):
            open_corrupted(str(arrays), GREY)

    def test_a_damaged_file_is_named(self, arrays):
        (arrays / "fog.npy").write_bytes(b"not an array")
        with pytest.raises(ValueError, match=r"cannot read .*fog.npy"):
            open_corrupted(str(arrays), GREY)

    def folders(self, folder, severities=range(1, 6)):
        for severity in severities:
            for label, name in enumerate("abc"):
                path = folder / "weather" / "fog" / str(severity) / name
                path.mkdir(parents=True)
                Image.new("L", (8, 8), 10 * severity + label).save(path / "1.png")
        return str(folder)

    def test_folders_by_severity_and_class(self, tmp_path):
        images = open_corrupted(self.folders(tmp_path), GREY)["fog", 3]()
        np.testing.assert_allclose(images.images[:][:, 0, 0, 0] * 255, 30 + images.labels, rtol=1e-5)

    @pytest.mark.parametrize(("severities", "message"), [((1, 2, 3, 5), "found no 4"), (range(1, 7), "found 6")])
    def test_folders_without_a_severity_are_named(self, severities, message, tmp_path):
        with pytest.raises(ValueError, match=f"fog, {message}"):
            open_corrupted(self.folders(tmp_path, severities), GREY)

    def test_tfds_names_have_a_config_for_each(self):
        opened = open_corrupted("cifar10_corrupted", GREY)
        assert len({name for name, _ in opened}) == 19
        assert len(opened) == 95

    def test_other_sources_and_names(self, tmp_path):
        with pytest.raises(
            ValueError, match='"common", "imagecorruptions", a folder or a TFDS name .* received "cifar_c"'
        ):
            open_corrupted("cifar_c", GREY)
        with pytest.raises(ValueError, match="found neither"):
            open_corrupted(str(tmp_path), GREY)
        with pytest.raises(ValueError, match="did you mean contrast"):
            open_corrupted("common", GREY, only=("contrasd",))
        assert ("saturate", 1) not in open_corrupted("common", GREY)


class TestEvaluation:
    @pytest.fixture(scope="class")
    def report(self, run, tmp_path_factory):
        folder = tmp_path_factory.mktemp("corruptions")
        settings = {"corruptions": "common", "corruption_names": "gaussian_noise,contrast", "attacks": "none"}
        config = replace(EvaluateConfig(), model=run, output_dir=str(folder), num_images=60, **settings)
        return config, measure(config)["corruptions"], folder

    def test_numbers_are_means_of_cells(self, report):
        _, found, folder = report
        assert read_record(CorruptionResults, str(folder / "corruptions.json")) == found
        assert [(cell.corruption, cell.severity) for cell in found.cells] == [
            (name, s) for name in ("gaussian_noise", "contrast") for s in range(1, 6)
        ]
        assert found.mean_accuracy == pytest.approx(np.mean([cell.accuracy for cell in found.cells]))
        assert found.clean.accuracy >= max(cell.accuracy for cell in found.cells) - 0.05
        assert found.cells[-1].accuracy < found.clean.accuracy
        assert found.mce is None
        with np.load(folder / "corruptions.npz") as arrays:
            np.testing.assert_allclose(arrays["accuracy"].ravel(), [cell.accuracy for cell in found.cells])
        assert (folder / "corruptions.png").exists()
        assert "mean" in summary(found)[-1]

    def test_mce_is_relative_to_a_baseline(self, report, tmp_path):
        config, found, folder = report
        again = replace(config, output_dir=str(tmp_path), corruption_baseline=str(folder / "corruptions.json"))
        assert measure(again)["corruptions"].mce == pytest.approx(1.0)
        alexnet = measure(replace(again, corruption_baseline="alexnet"))["corruptions"]
        errors = {
            name: np.mean([1 - cell.accuracy for cell in found.cells if cell.corruption == name])
            for name in ("gaussian_noise", "contrast")
        }
        assert alexnet.mce == pytest.approx(np.mean([error / ALEXNET[name] for name, error in errors.items()]))
        with pytest.raises(ValueError, match="lacks speckle_noise"):
            measure(replace(again, corruption_baseline="alexnet", corruption_names="speckle_noise"))

    def test_the_report_has_them(self, report):
        class Run:
            training = None
            reports = {"evaluation/corruptions.json": report[1]}

        found = {value.column.title: value for value in measured(Run)}
        assert found["mean accuracy, %"].number == pytest.approx(100 * report[1].mean_accuracy)
        assert "contrast, accuracy" in found
        assert not found["contrast, accuracy"].column.main
