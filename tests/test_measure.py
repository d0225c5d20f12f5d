"""Calibration, detection of other images, Fisher scores and generated images, by the settings of `evaluate`."""

import json
import os
import shutil

import keras
import numpy as np
import pytest

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.data.datasets import as_floats
from jeat_tf.data.labelled import Pixels
from jeat_tf.evaluate import copies
from jeat_tf.evaluate.density import asked, measure, summary
from jeat_tf.evaluate.generated_images import measure_generation
from jeat_tf.evaluate.image_sets import open_generated
from jeat_tf.evaluate.opened import open_evaluated
from jeat_tf.metrics import confidence, fisher, frechet, neighbours, scores, through
from jeat_tf.metrics.features import classifier
from jeat_tf.models.files import load_net, weights_sha256
from jeat_tf.runs.generation_results import Compared
from jeat_tf.runs.results import CalibrationResults
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.sample.run import sample
from tests.conftest import linear_net

DISTANCE = "frechet_classifier_distance"


@pytest.fixture(scope="module")
def judge(trained_net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("judge") / "judge.keras")
    trained_net.save(path)
    return path


@pytest.fixture(scope="module")
def samples(energy_run, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("samples"))
    start = {"start": "class_gaussian", "stages": "sgld:steps=2", "readings": 1}
    sample(replace(SampleConfig(), model=energy_run, num=150, batch_size=50, shard_size=50, output_dir=folder, **start))
    return folder


@pytest.fixture(scope="module")
def measured(energy_run, samples, judge, tmp_path_factory):
    """Reports and folder of everything that can be asked for, once."""
    folder = tmp_path_factory.mktemp("measured")
    config = replace(
        EvaluateConfig(),
        model=energy_run,
        num_images=200,
        calibration=True,
        ood="uniform,interpolation",
        fisher_images=5,
        fisher_probes=2,
        generation=samples,
        features=judge,
        neighbours=2,
        output_dir=str(folder),
    )
    return measure(config), folder


def test_reports_are_files_that_json_reads_strictly(measured):
    reports, folder = measured
    assert set(reports) == {"calibration", "ood", "fisher", "generation"}
    for name, report in reports.items():
        path = folder / f"{name}.json"
        assert json.loads(path.read_text(), parse_constant=pytest.fail)["schema"] == 1
        assert read_record(type(report), str(path)) == report
        assert report.weights_sha256
        assert summary(report)


def test_figures_come_with_their_numbers(measured):
    names = os.listdir(measured[1])
    for stem in ("reliability", "ood_log_density", "fresh_chains_neighbours_l2", "replay_buffer_neighbours_ssim"):
        assert {f"{stem}.png", f"{stem}.npz"} <= set(names)


def test_numbers_are_those_of_the_functions(measured, energy_run, digits):
    images, labels = (array[:200] for array in digits.arrays("test"))
    images = (images / np.float32(255)).astype(np.float32)
    net = keras.saving.load_model(f"{energy_run}/net.keras")
    reports = measured[0]
    expected = confidence.calibration(net(images).numpy(), labels.astype(np.int64))
    assert reports["calibration"].ece == pytest.approx(expected.ece, abs=1e-6)
    joint = fisher.fisher_score(net, images[:5], labels[:5], seed=(0, 9), trace=fisher.piecewise_linear_trace)
    assert reports["fisher"].joint.pixels.gradient_term == pytest.approx(joint.gradient_term, rel=1e-4)
    assert reports["ood"].detection["uniform"]["log_density"].auroc > 0.5


def test_scores_are_named_after_the_net_that_they_look_through(measured, samples, trained_net, digits):
    found = measured[0]["generation"].fresh_chains.scores
    assert not {"fid", "inception_score", "kid"} & set(found)
    net = classifier(trained_net)
    shards = list(SampleFolder(samples).shards())
    features, probabilities = net.of(np.concatenate([shard.images for shard in shards]))
    real, _ = net.of((digits.arrays("train")[0] / np.float32(255)).astype(np.float32))
    assert found["frechet_classifier_distance"].mean == pytest.approx(
        frechet.frechet_distance(features, real), rel=1e-3
    )
    assert found["classifier_score"].mean == pytest.approx(scores.inception_score(probabilities, 10).mean, rel=1e-4)


def test_both_fresh_chains_and_the_buffer_carry_their_protocol(measured):
    reports = measured[0]["generation"]
    fresh, buffer = reports.fresh_chains.protocol, reports.replay_buffer.protocol
    assert (fresh.n, fresh.samples, fresh.start, fresh.steps) == (
        150,
        "fresh chains",
        "ClassGaussians()",
        2,
    )
    assert fresh.stages[0].startswith("sgld:energy=joint,steps=2,")
    assert (buffer.n, buffer.samples) == (100, "replay buffer")
    assert fresh.feature_sha256 == buffer.feature_sha256
    assert fresh.reference_count == 1400
    assert fresh.generator_sha256 == buffer.generator_sha256 == measured[0]["generation"].weights_sha256
    compared = measured[0]["generation"].fresh_chains.compared
    assert compared == Compared(images=150, reference=1400, selection="all")


def test_real_images_are_measured_beside_the_samples(measured):
    """The control: right, varied, and nearer to the reference than the chains of a net of two epochs."""
    found = measured[0]["generation"]
    real, fresh = found.real_images, found.fresh_chains
    assert real.protocol.selection == "none; real images of the split test"
    assert real.agreement > 0.85
    assert real.scores[DISTANCE].mean < fresh.scores[DISTANCE].mean
    assert real.recall > 0.5


def opened(model, samples, judge, **settings):
    """What `measure_generation` is given, and its settings."""
    settings = {"generation": samples, "features": judge, "neighbours": 2, **settings}
    config = replace(EvaluateConfig(), model=model, **settings)
    return open_generated(config, open_evaluated(config)), config


def test_of_many_images_a_random_sample_is_compared_one_by_one(
    energy_run, samples, judge, digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(through, "KEPT", 60)
    generated, config = opened(energy_run, samples, judge, score_splits=20)
    found = measure_generation(config, generated, str(tmp_path))["fresh_chains"]
    how = "at random, by the seed, where there are more than 60"
    assert found.compared == Compared(images=60, reference=60, selection=how)
    images, labels = (np.concatenate(parts) for parts in zip(*SampleFolder(samples).shards(), strict=True))
    real, real_labels = as_floats(digits.arrays("train")[0]), digits.arrays("train")[1]
    net = generated.looking
    # Not so what needs no more than sums.
    with pytest.warns(UserWarning, match="15 images give 64 features"):
        of_class = frechet.per_class_frechet(net.of(images)[0], labels, net.of(real)[0], real_labels)
    assert found.scores[DISTANCE].of_class == pytest.approx({str(k): value for k, value in of_class.items()}, rel=1e-4)
    assert found.agreement == np.mean(net.of(images)[1].argmax(-1) == labels)
    assert found.scores["classifier_score"].bias.startswith("biased downwards: splits of 7 images")
    # Nor what is looked for among all real images, block by block.
    pictures = np.load(tmp_path / "fresh_chains_neighbours_l2.npz")
    near = neighbours.nearest_l2(pictures["images"], real, k=5)
    np.testing.assert_allclose(pictures["distances"], near.distances, rtol=1e-6)
    np.testing.assert_array_equal(pictures["neighbours"], real[pictures["indices"]])
    by_features = np.load(tmp_path / "fresh_chains_neighbours_features.npz")
    np.testing.assert_array_equal(by_features["neighbours"], real[by_features["indices"]])


def test_a_random_sample_is_of_all_rows_whatever_the_blocks():
    rows = np.arange(1000)

    def kept(seed, *cuts):
        sampled = through.Kept(seed, 100)
        for part in np.split(rows, cuts):
            sampled.update(part, part[:, None] * 2)
        return sampled.rows()

    places, values, doubled = kept(0, 1, 50, 700)
    np.testing.assert_array_equal(places, kept(0)[0])
    np.testing.assert_array_equal(places, values)
    np.testing.assert_array_equal(doubled[:, 0], 2 * places)
    assert len(np.unique(places)) == 100
    means = [kept(seed, 500)[0].mean() for seed in range(200)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 1000 / np.sqrt(12 * 100 * 200))


def test_nearest_images_and_memorisation_do_not_depend_on_blocks(digits, monkeypatch):
    real = Pixels(digits.arrays("train")[0][:300])
    held_out = as_floats(digits.arrays("test")[0][:50])
    generated = np.concatenate([real[:3], held_out[:40] * 0.9])
    expected = neighbours.memorisation(generated, real[:], held_out)
    monkeypatch.setattr(through, "KEPT", 70)
    assert copies._memorisation(generated, real, held_out) == pytest.approx(expected)
    near = copies._nearest_l2(generated, real, k=4)
    np.testing.assert_allclose(near.distances, neighbours.nearest_l2(generated, real[:], k=4).distances)
    same = np.repeat(real[5:6], 4, axis=0)
    assert copies._memorisation(same, real, same).share_further == 0.5


def test_samples_of_another_net_or_data_set_are_refused(run, energy_run, samples, judge, tmp_path):
    theirs, own = (weights_sha256(load_net(model))[:12] for model in (energy_run, run))
    with pytest.raises(ValueError, match=rf"\(weights {own}...\) in {samples}, .* weights {theirs}...; give the net"):
        opened(run, samples, judge)
    shutil.copytree(samples, tmp_path / "samples")
    path = tmp_path / "samples" / "identity.json"
    identity = json.loads(path.read_text())
    path.write_text(json.dumps(identity | {"dataset": "mnist"}))
    with pytest.raises(ValueError, match="expected samples of digits in .*, received samples of mnist; give that as"):
        opened(energy_run, str(tmp_path / "samples"), judge)


def test_chains_that_left_the_pixels_are_clipped_and_said_to_be(energy_run, judge, tmp_path):
    folder = str(tmp_path / "samples")
    stages = "sgld:steps=2,noise_std=0.5,clip_pixels=false"
    settings = {"start": "class_gaussian", "stages": stages, "num": 20, "readings": 1, "output_dir": folder}
    sample(replace(SampleConfig(), model=energy_run, **settings))
    assert min(shard.images.min() for shard in SampleFolder(folder).shards()) < 0
    generated = opened(energy_run, folder, judge)[0].sets["fresh_chains"]
    images = np.concatenate([shard.images for shard in generated.shards()])
    assert (images.min(), images.max()) == (0, 1)
    assert generated.protocol.selection == "none; clipped to [0, 1]"
    shard = next(SampleFolder(folder).shards())
    np.savez(f"{folder}/samples-00000-of-00001.npz", images=shard.images * np.inf, labels=shard.labels)
    with pytest.raises(ValueError, match="expected finite images in .*samples, received NaN or infinity"):
        opened(energy_run, folder, judge)


def test_judges_of_other_classes_and_those_that_guess_are_refused(energy_run, samples, tmp_path):
    path = str(tmp_path / "other.keras")
    linear_net(num_classes=5).save(path)
    with pytest.raises(ValueError, match=f"--features={path}: expected a net with 10 logits, .* received 5"):
        opened(energy_run, samples, path)
    keras.utils.set_random_seed(0)
    linear_net().save(path)
    with pytest.raises(ValueError, match=rf"knows the classes of digits in --features={path}, .*of 397 real images"):
        opened(energy_run, samples, path)


def test_a_judge_with_a_softmax_is_the_judge_without(energy_run, samples, judge, trained_net, tmp_path):
    path = str(tmp_path / "softmax.keras")
    keras.Model(trained_net.inputs, keras.layers.Softmax()(trained_net.outputs[0])).save(path)
    found = opened(energy_run, samples, path)[0].classifier
    plain = opened(energy_run, samples, judge)[0].classifier
    assert "softmax was taken off" in found.changes[0]
    assert (found.accuracy, found.images) == (plain.accuracy, 397)
    assert found.accuracy > 0.85


def test_samples_that_cannot_be_measured_are_found_first(energy_run, samples, judge, tmp_path):
    shutil.copytree(samples, tmp_path / "samples")
    settings = {"calibration": True, "features": judge, "output_dir": str(tmp_path / "out")}
    config = replace(EvaluateConfig(), model=energy_run, generation=str(tmp_path / "samples"), **settings)
    with pytest.raises(ValueError, match="expected at least 200 images in fresh_chains .*, received 150"):
        measure(replace(config, score_splits=200))
    (tmp_path / "samples" / "samples-00002-of-00003.npz").write_text("damaged")
    with pytest.raises(ValueError, match="cannot read the samples in .*samples-00002-of-00003.npz"):
        measure(config)
    assert not os.path.exists(tmp_path / "out")


def test_each_measure_is_written_before_the_next(run, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("jeat_tf.evaluate.density._ood", killed)
    settings = {"calibration": True, "ood": "uniform", "num_images": 50, "output_dir": str(tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        measure(replace(EvaluateConfig(), model=run, **settings))
    assert read_record(CalibrationResults, str(tmp_path / "calibration.json")).weights_sha256
    assert not (tmp_path / "ood.json").exists()


def test_only_what_is_asked_for_is_measured(run, tmp_path):
    assert asked(EvaluateConfig()) == []
    config = replace(EvaluateConfig(), model=run, calibration=True, num_images=50, output_dir=str(tmp_path))
    assert list(measure(config)) == ["calibration"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generation": "samples"}, "expected --features, received nothing: a .keras classifier"),
        ({"generation": "/nowhere", "features": "JUDGE"}, "no samples of known origin in /nowhere"),
        ({"ood": "unifrom"}, "--ood=unifrom: did you mean uniform"),
        ({"fisher_images": -1}, "--fisher_images and --fisher_probes >= 0"),
        ({"calibration": True, "dataset": "/nowhere.npz"}, "nowhere"),
    ],
)
def test_bad_settings_leave_nothing_behind(settings, message, run, judge, tmp_path):
    settings = {key: judge if value == "JUDGE" else value for key, value in settings.items()}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        measure(replace(EvaluateConfig(), model=run, output_dir=str(tmp_path / "out"), **settings))
    assert not os.path.exists(tmp_path / "out") or not os.listdir(tmp_path / "out")
