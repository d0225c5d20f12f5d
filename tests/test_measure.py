"""Calibration, detection of other images, Fisher scores and generated images, by the settings of `evaluate`."""

import json
import os

import numpy as np
import pytest

from jeat_tf.config import EvaluateConfig, SampleConfig, replace
from jeat_tf.evaluation import calibration, fisher, scores
from jeat_tf.evaluation.features import classifier
from jeat_tf.measure import asked, measure, summary
from jeat_tf.sample import sample
from jeat_tf.stored_samples import SampleFolder


@pytest.fixture(scope="module")
def judge(trained_net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("judge") / "judge.keras")
    trained_net.save(path)
    return path


@pytest.fixture(scope="module")
def samples(energy_run, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("samples"))
    start = {"start": "class_gaussian", "stages": "sgld:num_steps=2", "readings": 1}
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

        def refuse(text):
            raise AssertionError(f"{text} is not JSON")

        assert json.loads((folder / f"{name}.json").read_text(), parse_constant=refuse) == json.loads(
            json.dumps(report)
        )
        assert report["weights_sha256"]
        assert summary(name, report)


def test_figures_come_with_their_numbers(measured):
    names = os.listdir(measured[1])
    for stem in ("reliability", "ood_log_density", "fresh_chains_neighbours_l2", "replay_buffer_neighbours_ssim"):
        assert {f"{stem}.png", f"{stem}.npz"} <= set(names)


def test_numbers_are_those_of_the_functions(measured, energy_run, digits):
    import keras

    images, labels = (array[:200] for array in digits.arrays("test"))
    images = (images / np.float32(255)).astype(np.float32)
    net = keras.saving.load_model(f"{energy_run}/net.keras")
    reports = measured[0]
    expected = calibration.calibration(net(images).numpy(), labels.astype(np.int64))
    assert reports["calibration"]["ece"] == pytest.approx(expected.ece, abs=1e-6)
    joint = fisher.fisher_score(net, images[:5], labels[:5], seed=(0, 9), trace=fisher.piecewise_linear_trace)
    assert reports["fisher"]["joint"]["pixels"]["gradient_term"] == pytest.approx(joint.gradient_term, rel=1e-4)
    assert reports["ood"]["detection"]["uniform"]["log_density"]["auroc"] > 0.5


def test_scores_are_named_after_the_net_that_they_look_through(measured, samples, trained_net, digits):
    found = measured[0]["generation"]["fresh_chains"]
    assert not {"fid", "inception_score", "kid"} & set(found)
    net = classifier(trained_net)
    shards = list(SampleFolder(samples).shards())
    features, probabilities = net.of(np.concatenate([shard.images for shard in shards]))
    real, _ = net.of((digits.arrays("train")[0] / np.float32(255)).astype(np.float32))
    assert found["frechet_classifier_distance"] == pytest.approx(scores.frechet_distance(features, real), rel=1e-3)
    assert found["classifier_score"]["mean"] == pytest.approx(scores.inception_score(probabilities, 10).mean, rel=1e-4)


def test_both_fresh_chains_and_the_buffer_carry_their_protocol(measured):
    reports = measured[0]["generation"]
    fresh, buffer = reports["fresh_chains"]["protocol"], reports["replay_buffer"]["protocol"]
    assert (fresh["n"], fresh["samples"], fresh["start"], fresh["steps"]) == (150, "fresh chains", "class_gaussian", 2)
    assert fresh["stages"][0].startswith("sgld:energy=joint,num_steps=2,")
    assert (buffer["n"], buffer["samples"]) == (100, "replay buffer")
    assert fresh["feature_sha256"] == buffer["feature_sha256"]
    assert fresh["reference_count"] == 1400


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
