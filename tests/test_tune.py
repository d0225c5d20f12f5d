"""`sample --tune`: what is tried, on which images, and what is refused."""

import shutil

import pytest

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.data.datasets import split_names
from jeat_tf.runs.sample_results import SampleResults
from jeat_tf.runs.sampling import Trial, Tuning, read_tuning
from jeat_tf.sample.command import main
from jeat_tf.sample.run import sample
from jeat_tf.sample.tune import STEPS, settings
from jeat_tf.samplers.stages import parse_stages


@pytest.fixture(scope="module")
def judge(trained_net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("judge") / "judge.keras")
    trained_net.save(path)
    return path


def config(run, judge, folder, **more):
    small = {"num": 20, "readings": 0, "tune": 7, "tune_features": judge, "tune_images": 20, "start": "uniform"}
    return replace(SampleConfig(), model=run, output_dir=str(folder), **small | more)


@pytest.fixture(scope="module")
def tuned(run, judge, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned")
    return sample(config(run, judge, folder)), folder


@pytest.mark.filterwarnings("ignore:.*covariance without full rank")
def test_as_many_settings_are_tried_as_the_budget_says_and_the_best_draws(tuned, run, digits):
    report, folder = tuned
    tuning = read_tuning(str(folder))
    assert tuning == report.tuning == read_record(SampleResults, str(folder / "samples.json")).tuning
    assert len(tuning.trials) == tuning.budget == 7
    assert tuning.split == split_names(digits, 10, 0)[1]
    assert 0.9 < tuning.features_accuracy <= 1
    distances = [trial.distance for trial in tuning.trials]
    assert tuning.best.distance == min(distances) < max(distances)
    assert report.protocol.stages == (tuning.best.stage,)
    assert report.protocol.rule == "tuned, the best of 7"
    steps = [parse_stages(trial.stage)[0].steps for trial in tuning.trials]
    assert steps == [*STEPS, *STEPS[:2]]


@pytest.mark.filterwarnings("ignore:.*covariance without full rank")
def test_a_folder_keeps_its_tuning_until_the_question_changes(tuned, run, judge, tmp_path, monkeypatch):
    folder = shutil.copytree(tuned[1], tmp_path / "copied")
    monkeypatch.setattr("jeat_tf.sample.tune._distance", lambda *_: 1 / 0)
    assert sample(config(run, judge, folder)).tuning == tuned[0].tuning
    with pytest.raises(ZeroDivisionError):
        sample(config(run, judge, folder, tune=8))


def test_settings_are_energies_by_step_sizes_by_walks():
    every = list(settings((8, 8, 1)))
    assert len(set(every)) == len(every) == 20
    assert {one.energy for one in every[:2]} == {"joint", "cross_entropy"}
    assert every[0].stage(10).words() == "normalized:energy=joint,steps=10,step_size=0.1"
    assert list(settings((32, 32, 3)))[0].step_size == pytest.approx(0.0125 * 3072**0.5, abs=1e-4)


def test_the_best_is_finite_and_the_first_of_equal_ones():
    stored = Tuning(
        budget=3, images=20, seed=0, start="Uniform()", split="train", real_images=20, features="f",
        features_sha256="a", weights_sha256="b", start_distance=9.0, trials=(),
    )  # fmt: skip
    trials = tuple(Trial(stage=stage, distance=distance) for stage, distance in (("a", None), ("b", 2.0), ("c", 2.0)))
    tuning = Tuning(**{**vars(stored), "trials": trials})
    assert tuning.best == trials[1]
    with pytest.raises(ValueError, match="expected a chain that stays finite, received none in 1 trials"):
        Tuning(**{**vars(stored), "trials": trials[:1]}).best  # noqa: B018
    with pytest.raises(ValueError, match="no more trials than it allows"):
        Tuning(**{**vars(stored), "trials": 2 * trials})


@pytest.mark.filterwarnings("ignore:.*covariance without full rank")
def test_a_judge_that_the_chain_was_tuned_to_please_is_told(run, judge, tmp_path, capsys):
    main(replace(config(run, judge, tmp_path, tune=1), judge=judge))
    assert "warning: the judge is the net that the chain was tuned to please" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tune": 0}, "tune at least 1, received 0"),
        ({"tune_split": "test"}, "expected --tune_split without test images, received test"),
        ({"tune_split": "train+test[:10]"}, "cannot be measured on them"),
        ({"tune_split": "train[:1%]"}, "expected at least 20 images to tune on"),
        ({"tune_features": ""}, "expected --tune_features with --tune"),
        ({"stages": "sgld"}, "--tune chooses what is done to the images, and --stages says it"),
        ({"classes": "none"}, "--classes=none draws without classes"),
        ({"recipe": "exact", "start": ""}, "--tune has no effect on exact samples"),
        ({"tune": None}, "--tune_features has no effect without --tune"),
    ],
    ids=str,
)
def test_a_tuning_that_cannot_mean_anything_is_refused(given, message, run, judge, tmp_path):
    with pytest.raises(ValueError, match=message):
        sample(config(run, judge, tmp_path / "out", **given))
    assert not (tmp_path / "out").exists()


def test_the_net_itself_is_no_judge_and_images_that_it_may_have_learnt_are_asked_for(run, judge, tmp_path):
    with pytest.raises(ValueError, match="received the net itself"):
        sample(config(run, f"{run}/net.keras", tmp_path / "out"))
    shutil.copy(f"{run}/net.keras", tmp_path / "bare.keras")
    bare = replace(config(str(tmp_path / "bare.keras"), judge, tmp_path / "out"), dataset="digits")
    with pytest.raises(ValueError, match=r"received none; train with .*by --tune_split, e.g. train\[90%:\]"):
        sample(bare)
    assert not (tmp_path / "out").exists()
