"""The verb `sample`, on a run of a few steps."""

import json
import math
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.core.seeds import fold_in
from jeat_tf.data.datasets import as_floats, split_names
from jeat_tf.figures.show import show
from jeat_tf.models.glow import glow
from jeat_tf.runs.sample_results import SampleResults
from jeat_tf.runs.samples import SampleFolder, Shard
from jeat_tf.runs.trained import stored_buffer
from jeat_tf.sample.command import main
from jeat_tf.sample.diagnostics import animate, write_class_grid
from jeat_tf.sample.run import sample
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import RECIPES, Stage, parse_stages
from jeat_tf.samplers.starts import ClassComponents, ClassGaussians, Gaussian, Mixture, Uniform
from jeat_tf.samplers.values import SGLD
from tests.conftest import tiny_cnn

CHAIN = "sgld:steps=13"


def config(run, folder, **settings):
    small = {
        "recipe": "chain",
        "num": 25,
        "stages": CHAIN,
        "batch_size": 10,
        "shard_size": 10,
        "readings": 2,
        "output_dir": str(folder),
    }
    return replace(SampleConfig(), model=run, **small | settings)


def drawn(folder):
    shards = list(SampleFolder(str(folder)).shards())
    return np.concatenate([s.images for s in shards]), np.concatenate([s.labels for s in shards])


@pytest.fixture(scope="module")
def once(run, tmp_path_factory):
    """The report and the folder of samples that many tests look at."""
    folder = tmp_path_factory.mktemp("samples")
    return sample(config(run, folder)), folder


@pytest.fixture
def copied(once, tmp_path):
    """A copy of these samples, to be changed."""
    return shutil.copytree(once[1], tmp_path / "copied")


def test_a_net_is_drawn_as_the_paper_of_its_method_draws(run, tmp_path):
    """Eq. 16 from uniform noise for adversarial training; steps of one length for a net of an unknown method."""
    own = sample(config(run, tmp_path / "own", recipe="", stages="", num=10, readings=0)).protocol
    assert own.start == "Uniform()"
    assert own.stages == (Stage(SGLD(200), "cross_entropy").words(),)
    assert own.rule == "of the method pgd_at: JEAT eq. 16: down E(x, y) - E(x)"
    shutil.copy(f"{run}/net.keras", tmp_path / "bare.keras")
    bare = config(str(tmp_path / "bare.keras"), tmp_path / "bare", recipe="", stages="", num=10, readings=0)
    assert sample(replace(bare, dataset="digits")).protocol.rule == RECIPES["normalized"].source


def test_files_and_protocol(once):
    report, folder = once
    assert read_record(SampleResults, str(folder / "samples.json")) == report
    images, labels = drawn(folder)
    assert images.shape == (25, 8, 8, 1)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(labels, np.arange(25) % 10)
    assert {f"samples-0000{i}-of-00003.npz" for i in range(3)} <= set(os.listdir(folder))
    assert report.diagnostics.trace["step"] == (0, 7, 13)
    assert len(report.diagnostics.trace["energy"]) == 3
    assert report.protocol.start == "ClassGaussians()"
    assert report.protocol.stages == (Stage(SGLD(13)).words(),)
    assert parse_stages(*report.protocol.stages) == (Stage(SGLD(13)),)
    assert report.protocol.steps == 13


def test_the_pictures_show_every_class_and_every_reading(once):
    picture = np.asarray(keras.utils.load_img(once[1] / "grid.png"))
    assert picture.shape[1] >= 600
    scale, gap = 25, 12  # of 3 images of 8 pixels, and half of it between them
    assert picture.shape[0] == 10 * (8 * scale + gap) + gap
    labels = picture[:, : picture.shape[1] - 3 * (8 * scale + gap) - gap]
    assert all((labels[i * (8 * scale + gap) :][: 8 * scale] < 128).any() for i in range(10))  # a word beside each row
    with Image.open(once[1] / "chain.gif") as animation:
        assert animation.n_frames == 3
        captions = []
        for frame in range(3):
            animation.seek(frame)
            captions.append(np.asarray(animation.convert("L"))[-20:])
        assert all((caption < 128).any() for caption in captions)
        assert not np.array_equal(captions[0], captions[1])  # the step and the energy of each


def test_a_picture_of_one_image_of_each_class_is_about_square(tmp_path):
    write_class_grid(
        str(tmp_path / "grid.png"), Shard(np.zeros((10, 8, 8, 1), np.float32), np.arange(10)), list("0123456789")
    )
    height, width = np.asarray(keras.utils.load_img(tmp_path / "grid.png")).shape[:2]
    assert 0.5 * width < height < width


def test_each_row_of_the_animation_is_one_class_though_they_have_different_numbers_of_images(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("jeat_tf.sample.diagnostics.show", lambda x, **how: shown.append((x, how)) or show(x, **how))
    labels = np.array([0, 0, 1, 0, 2, 1])
    frames = [tf.constant(np.broadcast_to(labels[:, None, None, None] / 2, (6, 8, 8, 1)), tf.float32)] * 2
    energies = np.array([[1.0, 2, 3, 4, 5, 6]] * 2)
    animate(str(tmp_path), frames, labels, {"trace_step": np.array([0, 5]), "trace_energy": energies})
    images, how = shown[0]
    assert how["columns"] == 3
    grey = 0.5
    np.testing.assert_array_equal(images[:, 0, 0, 0], [0, 0, 0, 0.5, 0.5, grey, 1, grey, grey])
    assert (tmp_path / "chain.gif").exists()


def test_energy_falls_along_the_chain(once):
    energies = once[0].diagnostics.trace["energy"]
    assert energies[-1] < energies[0]


def test_a_finished_run_keeps_its_timing(once, run, copied):
    before = once[0]
    assert before.seconds > 0
    assert before.seconds_per_image == pytest.approx(before.seconds / 25, abs=1e-3)
    again = sample(config(run, copied))
    for name in ("seconds", "cpu_seconds", "seconds_per_image"):
        assert getattr(again, name) == getattr(before, name)
    os.remove(copied / "spent-00001-of-00003.json")  # as of a version that did not write it
    assert 0 < sample(config(run, copied)).seconds < before.seconds


def test_classes_are_counted_as_the_net_sees_them(once, run):
    images, labels = drawn(once[1])
    seen = keras.saving.load_model(f"{run}/net.keras")(images).numpy().argmax(-1)
    diagnostics = once[0].diagnostics
    assert diagnostics.share_of_each_class == pytest.approx(np.bincount(seen, minlength=10) / 25)
    assert diagnostics.share_classified_as_asked_by_the_net_itself == pytest.approx(np.mean(seen == labels))


def test_chains_that_diverge_are_counted_written_as_json_and_told(run, tmp_path, trained_net, capsys):
    trained_net.save(tmp_path / "judge.keras")
    wild = config(
        run,
        tmp_path / "out",
        stages="sgld:steps=2,noise_std=1e38,step_size=1e38,clip_pixels=false",
        judge=str(tmp_path / "judge.keras"),
    )
    main(wild)

    path = tmp_path / "out" / "samples.json"
    json.loads(path.read_text(), parse_constant=pytest.fail)
    report = read_record(SampleResults, str(path))
    assert report.diagnostics.chains_not_finite > 20
    assert not report.diagnostics.finite
    assert math.isnan(report.diagnostics.trace["energy"][-1])
    images, labels = drawn(tmp_path / "out")
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    assert report.diagnostics.share_classified_as_asked_by_the_net_itself <= np.mean(finite)
    assert report.judge.agreement <= np.mean(finite)
    assert report.judge.frechet_classifier_distance is None
    assert report.judge.start_alone.frechet_classifier_distance > 0
    printed = capsys.readouterr().out
    assert "warning: " in printed
    assert "of 25 chains are not finite" in printed


def test_without_classes_no_image_is_said_to_be_as_asked(run, tmp_path, trained_net, capsys):
    trained_net.save(tmp_path / "judge.keras")
    judge = str(tmp_path / "judge.keras")
    main(config(run, tmp_path / "out", start="uniform", stages="none", judge=judge))
    printed = capsys.readouterr().out
    assert "without classes" in printed
    assert "judge (class that the net sees" in printed
    assert "asked for" not in printed


def test_what_is_wrong_with_the_images_is_told_in_place_of_what_the_net_says_of_its_own(run, tmp_path, capsys):
    """Two thousand times the step saturates, and leaves class Gaussians worse than they were."""
    main(config(run, tmp_path, stages="sgld:steps=20,step_size=500"))
    printed = capsys.readouterr().out
    assert "warning: the chains saturate: " in printed
    assert "warning: the chains leave their start worse than it was" in printed
    assert "net itself" not in printed
    found = read_record(SampleResults, str(tmp_path / "samples.json")).diagnostics.looks
    assert found.saturated > 0.9 > found.saturated_of_real
    assert found.distance > found.distance_of_start


def test_copies_of_training_images_are_told(run, tmp_path, digit_arrays, capsys):
    np.savez(tmp_path / "given.npz", images=digit_arrays[0][:200], labels=digit_arrays[1][:200])
    given = {"start": "images", "start_images": str(tmp_path / "given.npz"), "stages": "none"}
    main(config(run, tmp_path / "out", **given))
    assert "near copies of training images" in capsys.readouterr().out


def test_a_collapse_is_told(run, tmp_path, capsys):
    main(config(run, tmp_path, stages="contrast:factor=0.1"))
    assert "warning: the images of a class have collapsed: their spread is 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        (ClassGaussians(), {}),
        (Uniform(), {"start": "uniform", "stages": "sgld:energy=cross_entropy,steps=3"}),
        (ClassComponents(), {"start": "class_pca", "stages": "momentum:steps=3"}),
        (ClassComponents(0.5), {"start": "class_pca", "start_retained": 0.5, "stages": "none"}),
        (
            ClassGaussians(3),
            {"start": "class_gaussian", "start_rank": 3, "stages": "annealed:steps=3;hmc:steps=2;contrast:factor=0.8"},
        ),
        (Mixture(), {"start": "mixture", "stages": "normalized:steps=3"}),
        (Gaussian(), {"start": "gaussian", "stages": "none"}),
    ],
    ids=lambda x: None if isinstance(x, dict) else repr(x),
)
def test_they_are_what_generate_draws_in_one_go(start, settings, run, tmp_path, digits):
    chosen = config(run, tmp_path, num=10, seed=4, **settings)
    report = sample(chosen)
    assert report.diagnostics.finite
    assert report.protocol.start == repr(start)
    layer = start.layer((8, 8, 1), 10)
    images, labels = digits.arrays(split_names(digits, 10, 0)[0])
    layer.adapt(as_floats(images), labels)
    net = keras.saving.load_model(f"{run}/net.keras")
    stages = parse_stages(chosen.stages)
    one_go = generate(net, tf.range(10), seed=fold_in(tf.constant([4, 6]), 0), start=layer, stages=stages)
    np.testing.assert_allclose(drawn(tmp_path)[0], one_go, atol=1e-5)


def test_the_temperature_of_a_flow_scales_its_latents(tmp_path):
    """At 0 only the mean latent of each class is left."""
    net = glow((8, 8, 1), 10, depth=1, width=4)
    net.save(tmp_path / "flow.keras")
    kept = {"num": 20, "recipe": "exact", "stages": "", "readings": 0, "dataset": "digits"}

    def images(name, **settings):
        report = sample(config(str(tmp_path / "flow.keras"), tmp_path / name, **kept, **settings))
        return report.protocol.start, drawn(tmp_path / name)[0]

    assert images("cold", start_temperature=0.0)[0] == "Exact(temperature=0.0)"
    cold, warm, usual = (
        images(name, start_temperature=t)[1] for name, t in (("cold", 0.0), ("warm", 0.7), ("one", None))
    )
    np.testing.assert_array_equal(cold[:10], cold[10:])
    assert 0 < warm.std(axis=0).mean() < usual.std(axis=0).mean()


def test_it_is_a_function_of_its_seed(once, run, tmp_path):
    sample(config(run, tmp_path / "same"))
    sample(config(run, tmp_path / "other", seed=1))
    np.testing.assert_array_equal(drawn(tmp_path / "same")[0], drawn(once[1])[0])
    assert np.any(drawn(tmp_path / "other")[0] != drawn(once[1])[0])


def test_an_interrupted_run_goes_on_where_it_was(once, run, copied):
    os.remove(copied / "samples-00001-of-00003.npz")
    kept = os.stat(copied / "samples-00000-of-00003.npz").st_mtime_ns
    sample(config(run, copied))
    assert os.stat(copied / "samples-00000-of-00003.npz").st_mtime_ns == kept
    np.testing.assert_array_equal(drawn(copied)[0], drawn(once[1])[0])


def test_other_samples_are_not_overwritten_unless_asked(once, run, copied):
    with pytest.raises(ValueError, match="holds other samples .*seed: 0 -> 1"):
        sample(config(run, copied, seed=1))
    np.testing.assert_array_equal(drawn(copied)[0], drawn(once[1])[0])
    sample(config(run, copied, seed=1, resume=False))
    assert np.any(drawn(copied)[0] != drawn(once[1])[0])


def test_records_hold_the_images_to_eight_bits(once, run, tmp_path):
    sample(config(run, tmp_path, format="tfrecord"))
    exact, labels = drawn(once[1])
    rounded, same = drawn(tmp_path)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(rounded, exact, atol=0.5 / 255 + 1e-6)


def test_robust_jems_combined_inference(run, tmp_path):
    """Class Gaussians, targeted PGD, less contrast, and no chain: the images are the attack's, drawn together."""
    sample(config(run, tmp_path, stages="targeted:steps=5,epsilon=0.2;contrast:factor=0.9"))
    images, labels = drawn(tmp_path)
    assert images.min() >= 0.05 - 1e-6
    assert images.max() <= 0.95 + 1e-6
    net = keras.saving.load_model(f"{run}/net.keras")
    assert np.mean(net(images).numpy().argmax(-1) == labels) > 0.9


def test_a_chain_with_an_acceptance_step_says_how_often_it_accepts(run, tmp_path):
    stages = "sgld:steps=2;mala:steps=4,step_size=1e-6,temperature=1"
    found = sample(config(run, tmp_path, stages=stages)).diagnostics
    assert 0.9 < found.accepted["stage_2"] <= 1.0
    assert set(found.accepted) == {"stage_2"}


def test_classes_in_a_list_are_asked_for_in_turn(run, tmp_path):
    sample(config(run, tmp_path, classes="3,5"))
    np.testing.assert_array_equal(drawn(tmp_path)[1], [3, 5] * 12 + [3])


@pytest.mark.parametrize("classes", ["", "none"])
def test_without_classes_the_net_says_what_the_images_are(classes, run, tmp_path):
    report = sample(config(run, tmp_path, recipe="unconditional", stages="", classes=classes))
    assert report.protocol.classes == "none"
    images, labels = drawn(tmp_path)
    net = keras.saving.load_model(f"{run}/net.keras")
    np.testing.assert_array_equal(net(images).numpy().argmax(-1), labels)


def test_classes_are_asked_for_where_something_goes_by_them(once, run, tmp_path):
    assert once[0].protocol.classes == "balanced"
    assert SampleFolder(str(once[1])).identity().classes == "balanced"
    report = sample(config(run, tmp_path, start="uniform", stages="none"))
    assert report.protocol.classes == "none"
    net = keras.saving.load_model(f"{run}/net.keras")
    images, labels = drawn(tmp_path)
    np.testing.assert_array_equal(net(images).numpy().argmax(-1), labels)


def test_a_buffer_of_classes_has_no_classes_where_none_are_asked_for(energy_run, tmp_path):
    """All slots, and not those of the class that means none."""
    run = shutil.copytree(energy_run, tmp_path / "run", ignore=shutil.ignore_patterns("logs"))
    settings = json.loads((run / "config.json").read_text())
    settings["settings"]["method"]["class_conditional"] = True
    (run / "config.json").write_text(json.dumps(settings))
    for classes, known in (("", "balanced"), ("none", "none")):
        folder = tmp_path / f"classes-{classes}"
        report = sample(config(str(run), folder, start="buffer", stages="none", classes=classes))
        assert report.protocol.classes == known
        buffer = stored_buffer(str(run)).images
        classes_of_slots = [np.flatnonzero((buffer == x).all(axis=(1, 2, 3)))[0] % 10 for x in drawn(folder)[0]]
        assert len(set(classes_of_slots)) > 5


def test_chains_go_on_from_the_replay_buffer(energy_run, tmp_path):
    report = sample(config(energy_run, tmp_path, start="buffer", stages="none"))
    assert report.protocol.classes == "none"
    assert report.diagnostics.share_classified_as_asked_by_the_net_itself is None
    age = stored_buffer(energy_run).age
    assert report.diagnostics.buffer_age_mean == pytest.approx(age.mean())
    assert report.diagnostics.buffer_age_max == age.max() > 0
    stored = stored_buffer(energy_run).images
    for image in drawn(tmp_path)[0]:
        assert np.abs(stored - image).max(axis=(1, 2, 3)).min() == 0


def test_chains_begin_at_given_images_of_the_class(run, tmp_path, digit_arrays):
    images, labels = digit_arrays
    np.savez(tmp_path / "given.npz", images=images, labels=labels)
    given = {"start": "images", "start_images": str(tmp_path / "given.npz"), "stages": "none"}
    sample(config(run, tmp_path / "out", **given))
    for image, label in zip(*drawn(tmp_path / "out"), strict=True):
        same = np.flatnonzero((images == image).all(axis=(1, 2, 3)))
        assert label in labels[same]


def test_a_judge_grades_start_and_end(run, tmp_path, trained_net):
    trained_net.save(tmp_path / "judge.keras")
    judged = sample(config(run, tmp_path, num=60, judge=str(tmp_path / "judge.keras"))).judge
    assert 0 <= judged.agreement <= 1
    assert judged.accuracy > 0.85
    assert judged.accuracy_images == 397
    keras.utils.set_random_seed(0)
    tiny_cnn().save(tmp_path / "untrained.keras")
    with pytest.raises(ValueError, match="expected a net that knows the classes of digits in --judge=.*untrained"):
        sample(config(run, tmp_path / "refused", judge=str(tmp_path / "untrained.keras")))
    assert not (tmp_path / "refused").exists()
    assert judged.start_alone.agreement > 0.6
    assert judged.frechet_classifier_distance > 0
    assert judged.real_images.images == "60 test images"
    # Real images are right, near to the data, varied, and no copies: what samples are to be measured by.
    assert judged.real_images.agreement > 0.85
    assert judged.real_images.frechet_classifier_distance < judged.frechet_classifier_distance
    assert judged.real_images.recall > 0.4
    assert judged.real_images.copies_of_real < 0.1
    for graded in (judged, judged.start_alone):
        # As many of each class are asked for.
        assert np.mean(graded.agreement_of_each_class) == pytest.approx(graded.agreement)
        assert sum(graded.share_of_each_class) == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num": 0}, "num at least 1"),
        ({"readings": -1}, "readings at least 0"),
        ({"recipe": "best"}, 'unknown recipe "best"'),
        ({"start": "uniform", "start_rank": 3}, "--start_rank has no effect with --start=uniform"),
        ({"start": "uniform", "start_temperature": 0.7}, "--start_temperature has no effect with --start=uniform"),
        ({"start": "flow", "start_temperature": -1.0}, "expected temperature at least 0"),
        ({"start": "uniforn"}, 'unknown start "uniforn"; did you mean uniform'),
        ({"stages": "sgdl"}, 'unknown stage "sgdl"'),
        ({"start": "buffer"}, "expected a run with a replay buffer"),
        ({"start": "images"}, "--start_images belong together"),
        ({"classes": "10"}, r"classes in 0\.\.9, those of the net, received \[10\]"),
        ({"classes": "three"}, "balanced, none or a list"),
        ({"classes": "none"}, "--classes=none draws without classes, and sgld needs them"),
        ({"classes": "none", "recipe": "dat", "stages": ""}, "normalized needs them; use --recipe=unconditional"),
        ({"classes": "3", "start": "uniform", "stages": "none"}, "neither the start uniform nor a stage goes by them"),
        ({"classes": "balanced", "recipe": "unconditional", "stages": ""}, "the start mixture nor a stage goes by"),
    ],
)
def test_bad_settings_leave_nothing_behind(settings, message, run, tmp_path):
    with pytest.raises(ValueError, match=message):
        sample(config(run, tmp_path / "out", **settings))
    assert not (tmp_path / "out").exists()


def test_missing_and_damaged_files_are_named(copied, tmp_path):
    with pytest.raises(ValueError, match="no samples in"):
        list(SampleFolder(str(tmp_path)).shards())
    last = copied / "samples-00002-of-00003.npz"
    last.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match="cannot read the samples in .*samples-00002-of-00003.npz"):
        list(SampleFolder(str(copied)).shards())
    os.remove(last)
    with pytest.raises(ValueError, match="expected 3 files of samples .* received 2"):
        list(SampleFolder(str(copied)).shards())


def test_a_flipped_bit_in_samples_or_traces_is_named(copied):
    for name, what in (("traces", "traces"), ("samples", "samples")):
        path = copied / f"{name}-00001-of-00003.npz"
        flipped = bytearray(path.read_bytes())
        flipped[100] ^= 1  # in the first array
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=f"cannot read the {what} in .*; remove that file, and the same command"):
            SampleFolder(str(copied)).traces() if name == "traces" else list(SampleFolder(str(copied)).shards())


def test_images_without_labels_are_refused(copied):
    path = copied / "samples-00000-of-00003.npz"
    with np.load(path) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez(path, images=images, labels=labels[:-1])
    with pytest.raises(ValueError, match=r"a label for each, received shapes \[10, 8, 8, 1\] and \[9\]"):
        list(SampleFolder(str(copied)).shards())
    np.savez(path, images=images)
    with pytest.raises(ValueError, match="it has no labels"):
        list(SampleFolder(str(copied)).shards())


def test_an_identity_without_what_readers_go_by_is_refused(copied):
    identity = json.loads((copied / "identity.json").read_text())
    for broken in ({k: v for k, v in identity.items() if k != "stages"}, [1], 3):
        (copied / "identity.json").write_text(json.dumps(broken))
        with pytest.raises(
            ValueError,
            match="no samples of known origin .* (a field stages|a JSON object).*`python -m jeat_tf.sample`",
        ):
            SampleFolder(str(copied)).identity()


def test_records_that_are_cut_between_two_images_are_too_few(run, tmp_path):
    sample(config(run, tmp_path, format="tfrecord", stages="none"))
    path = tmp_path / "samples-00002-of-00003.tfrecord"
    kept = list(tf.data.TFRecordDataset(str(path)).take(3).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in kept:
            writer.write(record)
    with pytest.raises(ValueError, match="expected 25 images in .*, received 23: a file is not whole"):
        list(SampleFolder(str(tmp_path)).shards())


def test_a_checkpoint_that_is_cut_is_named(energy_run, tmp_path):
    for name in ("config.json", "net.keras"):
        shutil.copy(f"{energy_run}/{name}", tmp_path)
    with open(f"{energy_run}/last.weights.h5", "rb") as whole:
        (tmp_path / "last.weights.h5").write_bytes(whole.read()[:2000])
    with pytest.raises(ValueError, match=r"cannot read the replay buffer in .*last.weights.h5 \(2,000 bytes"):
        sample(config(str(tmp_path), tmp_path / "out", start="buffer", stages="none"))
