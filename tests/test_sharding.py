"""Samples that are drawn in parts, and verdicts on parts of the test images: both as if nothing had been divided."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest

from components import manifest
from components.data_prep import data_prep
from components.evaluator import evaluator
from components.given import by_flags, by_json
from components.merge_evaluations import merge_evaluations
from components.merge_samples import merge_samples
from components.pipeline import build
from components.run import execute
from components.sample_export import sample_export
from components.settings import PipelineConfig
from components.types import InputArtifacts, Model
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.store import to_json
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.results import AttackResults
from jeat_tf.runs.sample_results import SampleResults
from jeat_tf.runs.samples import FILES, SampleFolder, file_batches, merge
from jeat_tf.runs.verdict_parts import merge as merge_state
from jeat_tf.sample.run import sample
from tests.conftest import linear_net

SMALL = {"num": 35, "stages": "sgld:steps=3", "batch_size": 5, "shard_size": 10, "readings": 1}


def config(net, folder, **settings):
    return replace(SampleConfig(), model=net, dataset="digits", output_dir=str(folder), **SMALL | settings)


def drawing(**settings):
    """Settings as a component is given them."""
    return to_json(replace(SampleConfig(), **SMALL, **settings))


@pytest.fixture(scope="module")
def net(tmp_path_factory, data_dir):
    """Folder of an untrained net; where its chains go does not matter here."""
    folder = tmp_path_factory.mktemp("net")
    keras.utils.set_random_seed(0)
    linear_net().save(folder / "net.keras")
    manifest.write(str(folder), Model, {}, producer={}, parameters={}, parents={})
    return str(folder)


@pytest.fixture(scope="module")
def drawn(net, tmp_path_factory):
    """A folder of all samples, and the folders of two shards of the same."""
    folder = tmp_path_factory.mktemp("drawn")
    sample(config(net, folder / "all"))
    shards = [folder / f"shard-{i}" for i in range(2)]
    for i, shard in enumerate(shards):
        sample(config(net, shard, shard=f"{i}/2"))
    return folder / "all", shards


def files(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".npz"))


def assert_same_arrays(one, other, but=()):
    with np.load(one, allow_pickle=False) as a, np.load(other, allow_pickle=False) as b:
        assert sorted(a) == sorted(b)
        for name in [name for name in a if not name.endswith(tuple(but))]:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(("num", "batch", "size"), [(35, 5, 10), (1, 200, 1000), (1000, 200, 300), (10, 10, 1)])
def test_every_batch_is_in_one_file_and_every_file_in_one_shard(num, batch, size):
    batches = file_batches(num, batch, size)
    assert [i for file in batches for i in file] == list(range(-(-num // batch)))
    for count in range(1, len(batches) + 1):
        parts = [part_of(f"{i}/{count}", len(batches), FILES) for i in range(count)]
        assert [i for part in parts for i in part] == list(range(len(batches)))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["1", "3/3", "-1/3", "a/b", "1/2/3"])
def test_a_shard_is_one_of_so_many(shard):
    with pytest.raises(ValueError, match="expected --shard=i/m"):
        part_of(shard, 4, FILES)


def test_a_shard_without_a_file_is_refused():
    with pytest.raises(ValueError, match="m <= 4, received 0/5: there are 4 files of images; lower --shard_size"):
        part_of("0/5", 4, FILES)


def test_a_shard_draws_its_files_alone_and_no_picture_of_all(drawn):
    _, shards = drawn
    assert [len([name for name in files(shard) if name.startswith("samples-")]) for shard in shards] == [2, 2]
    assert "samples-00002-of-00004.npz" in files(shards[1])
    for i, shard in enumerate(shards):
        assert not {"samples.json", "grid.png"} & set(os.listdir(shard))
        report = json.loads((shard / f"shard-0000{i}-of-00002.json").read_text())
        assert report["shard"] == f"{i}/2"
    assert report["drawn"] == 15


def test_merged_shards_are_the_samples_bit_for_bit(drawn, tmp_path):
    whole, shards = drawn
    merge([str(shard) for shard in reversed(shards)], str(tmp_path))
    assert files(tmp_path) == files(whole)
    for name in files(whole):
        assert_same_arrays(tmp_path / name, whole / name)
    assert (tmp_path / "chain.gif").read_bytes() == (whole / "chain.gif").read_bytes()
    assert SampleFolder(str(tmp_path)).identity() == SampleFolder(str(whole)).identity()
    reports = [json.loads((shard / f"shard-0000{i}-of-00002.json").read_text()) for i, shard in enumerate(shards)]
    spent = SampleFolder(str(tmp_path)).spent(range(4), 4)
    assert spent.images == 35
    assert spent.seconds == pytest.approx(sum(report["seconds"] for report in reports), abs=0.02)


@pytest.mark.slow
def test_shards_in_one_folder_need_no_merging(drawn, net, tmp_path):
    for i in (2, 0, 1):
        sample(config(net, tmp_path, shard=f"{i}/3"))
    before = {name: os.stat(tmp_path / name).st_mtime_ns for name in files(tmp_path)}
    report = sample(config(net, tmp_path))
    assert {name: os.stat(tmp_path / name).st_mtime_ns for name in files(tmp_path)} == before
    assert report.diagnostics == read_record(SampleResults, str(drawn[0] / "samples.json")).diagnostics


def test_what_does_not_fit_together_is_not_merged(drawn, tmp_path):
    first, second = (str(shard) for shard in drawn[1])
    into = str(tmp_path / "into")
    with pytest.raises(ValueError, match="expected the folders of shards, received none"):
        merge([], into)
    with pytest.raises(ValueError, match="expected 4 files of samples in 1 shards, received 2 without the files 0, 1:"):
        merge([second], into)
    with pytest.raises(ValueError, match="each file of samples once, received samples-00002-of-00004.npz in"):
        merge([first, second, second], into)
    other = shutil.copytree(second, tmp_path / "other")
    identity = json.loads((other / "identity.json").read_text())
    (other / "identity.json").write_text(json.dumps(identity | {"seed": 1}))
    with pytest.raises(ValueError, match="shards of the same samples, .*seed: 0 -> 1"):
        merge([first, str(other)], into)
    with pytest.raises(ValueError, match="no samples of known origin"):
        merge([first, str(tmp_path)], into)
    assert not os.path.exists(into)


def test_a_folder_of_other_samples_is_replaced_by_the_merged(drawn, tmp_path):
    shutil.copy(drawn[0] / "samples-00000-of-00004.npz", tmp_path / "samples-00000-of-00001.npz")
    merge([str(shard) for shard in drawn[1]], str(tmp_path))
    assert files(tmp_path) == files(drawn[0])


@pytest.fixture
def artifacts(tmp_path, data_dir):
    """The folder of Examples, and folders for two shards of Samples."""
    examples = str(tmp_path / "examples")
    execute(data_prep, {}, {"examples": examples}, {"dataset": "digits", "data_dir": data_dir, "download": False})
    return examples, [str(tmp_path / f"shard-{i}") for i in range(2)]


@pytest.mark.slow
def test_the_component_ends_as_one_that_draws_all(net, artifacts, tmp_path):
    examples, shards = artifacts
    given = {"examples": examples, "model": net}
    for i, folder in enumerate(shards):
        execute(sample_export, given, {"samples": folder}, {"settings": drawing(shard=f"{i}/2"), "seed": 3})
    parameters = {"settings": drawing(), "seed": 3}
    execute(sample_export, given, {"samples": str(tmp_path / "all")}, parameters)
    named = InputArtifacts({f"shard-{i}": folder for i, folder in enumerate(shards)})
    made = execute(merge_samples, given | {"shards": named}, {"samples": str(tmp_path / "merged")}, parameters)
    reports = [json.loads((tmp_path / name / "samples.json").read_text()) for name in ("all", "merged")]
    for key in ("num", "protocol", "diagnostics", "weights_sha256"):
        assert reports[0][key] == reports[1][key]
    assert reports[1]["shards"] == 2
    shard_reports = [json.loads(next(pathlib.Path(folder).glob("shard-*")).read_text()) for folder in shards]
    assert reports[1]["seconds"] == pytest.approx(sum(one["seconds"] for one in shard_reports), abs=0.02)
    assert reports[1]["seconds_per_image"] == pytest.approx(reports[1]["seconds"] / 35, abs=1e-3)
    assert made["samples"]["num"] == 35
    assert (tmp_path / "merged" / "grid.png").read_bytes() == (tmp_path / "all" / "grid.png").read_bytes()
    missing = InputArtifacts({"shard-0": shards[0]}, {"shard-1": "out of memory"})
    with pytest.raises(ValueError, match="expected all of 2 artifacts, but some were not made: shard-1: out of memory"):
        execute(merge_samples, given | {"shards": missing}, {"samples": str(tmp_path / "no")}, parameters)


def test_the_pipeline_draws_in_shards_and_merges_them():
    flags = "--num=20 --batch_size=10 --shard_size=10"
    settings = PipelineConfig(methods="standard", seeds="0", sample_flags=flags, sample_shards=2)
    graph = build(settings)
    names = [f"sample_export-standard-0-shard-{i}" for i in range(2)]
    wanted = [by_flags(SampleConfig, f"{flags} --shard={i}/2") for i in range(2)]
    assert [by_json(SampleConfig, graph.nodes[name].parameters["settings"]) for name in names] == wanted
    assert graph.nodes["merge_samples-standard-0"].parents() == {"data_prep", "trainer-standard-0", *names}
    assert "merge_samples-standard-0" in graph.nodes["evaluator-standard-0"].parents()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample_shards": 0}, "expected --sample_shards >= 1, received 0"),
        ({"sample_shards": 2, "sample_flags": "--num=20"}, "m <= 1, received 0/2: there are 1 files"),
        ({"sample_shards": 2, "sample_flags": "--num=2000 --shard=0/2"}, "leave --shard out of --sample_flags"),
        ({"sample_flags": "--nmu=20"}, "SampleConfig: .*nmu"),
        ({"evaluate_shards": 0}, "expected --evaluate_shards >= 1, received 0"),
        ({"evaluate_shards": 2, "evaluate_flags": "--shard=0/2"}, "leave --shard out of --evaluate_flags"),
        ({"evaluate_shards": 2, "evaluate_flags": "--attacks=none --calibration"}, "expected --attacks in"),
    ],
)
def test_shards_are_checked_before_training(settings, message):
    with pytest.raises(ValueError, match=message):
        build(PipelineConfig(methods="standard", **settings))


ATTACKS = {"attacks": "clean,pgd5,energy3", "num_images": 50, "audit_images": 0, "batch_size": 7}
SPENT = ("seconds", "forwards", "gradients")


def evaluation(net, folder, **settings):
    return replace(EvaluateConfig(), model=net, dataset="digits", epsilon="0.1", output_dir=str(folder), **settings)


@pytest.fixture(scope="module")
def attacked(run, tmp_path_factory):
    """A folder and report of an evaluation, and the folders of three shards of the same."""
    folder = tmp_path_factory.mktemp("attacked")
    report = evaluate(evaluation(run, folder / "all", **ATTACKS))
    shards = [folder / f"shard-{i}" for i in range(3)]
    for i, shard in enumerate(shards):
        evaluate(evaluation(run, shard, shard=f"{i}/3", **ATTACKS))
    return folder / "all", report, shards


def of_attacks(report):
    """Rows without what depends on batches: seconds, and the passes of images that fill a batch."""
    return [{k: v for k, v in vars(row).items() if k not in SPENT} for row in report.results]


def test_a_shard_attacks_its_images_alone_and_has_no_results_of_all(attacked):
    for i, shard in enumerate(attacked[2]):
        shards = {f".jeat_tf-shard-0000{i}-of-00003.lock", ".jeat_tf.lock"}
        assert set(os.listdir(shard)) == {"state"} | shards
        names = sorted(set(os.listdir(shard / "state")) - {"shards.json"})
        assert names[-1] == f"shard-0000{i}-of-00003.json"
        assert len(names) == 3
        with np.load(shard / "state" / names[1], allow_pickle=False) as found:
            assert len(found["broken_by"]) == [16, 17, 17][i]


def test_merged_verdicts_are_those_on_all_images(attacked, run, tmp_path):
    whole, expected, shards = attacked
    merge_state([str(shard / "state") for shard in reversed(shards)], str(tmp_path / "state"))
    report = evaluate(evaluation(run, tmp_path, **ATTACKS))
    assert 0 < report.results[1].correct < 50
    assert of_attacks(report) == of_attacks(expected)
    assert (report.shards, expected.shards) == (3, 1)
    assert_same_arrays(tmp_path / "verdicts.npz", whole / "verdicts.npz", but=SPENT)
    assert sorted(os.listdir(tmp_path)) == [".jeat_tf.lock", "results.json", "verdicts.npz"]


@pytest.mark.slow
def test_shards_in_one_folder_need_no_merging_but_all_of_them(attacked, run, tmp_path):
    for i in (2, 0):
        evaluate(evaluation(run, tmp_path, shard=f"{i}/3", **ATTACKS))
    with pytest.raises(ValueError, match="expected 3 shards that have ended in .*received 2: --shard=1/3 still"):
        evaluate(evaluation(run, tmp_path, **ATTACKS))
    evaluate(evaluation(run, tmp_path, shard="0/3", resume=False, **ATTACKS))
    evaluate(evaluation(run, tmp_path, shard="1/3", **ATTACKS))
    with pytest.raises(ValueError, match="state of another evaluation .*seed: 0 -> 1"):
        evaluate(evaluation(run, tmp_path, seed=1, **ATTACKS))
    assert of_attacks(evaluate(evaluation(run, tmp_path, **ATTACKS))) == of_attacks(attacked[1])


def test_evaluations_that_do_not_fit_together_are_not_merged(attacked, run, tmp_path):
    first, second, third = (str(shard / "state") for shard in attacked[2])
    into = str(tmp_path / "into")
    with pytest.raises(ValueError, match="received none in no folder"):
        merge_state([], into)
    with pytest.raises(ValueError, match="received none in .*nothing"):
        merge_state([str(tmp_path / "nothing")], into)
    with pytest.raises(ValueError, match="expected 3 shards that have ended in .*received 2: --shard=1/3 still"):
        merge_state([first, third], into)
    with pytest.raises(ValueError, match="each shard once, received .*-00001-of-00003.npz in"):
        merge_state([first, second, second, third], into)
    other = tmp_path / "other"
    evaluate(evaluation(run, other, shard="2/3", **ATTACKS | {"attacks": "clean,pgd6"}))
    with pytest.raises(ValueError, match="shards of one evaluation, received .*attacks: .*5 steps.* -> .*6 steps"):
        merge_state([first, second, str(other / "state")], into)
    shutil.rmtree(other)
    evaluate(evaluation(run, other, shard="1/2", **ATTACKS))
    with pytest.raises(ValueError, match="shards of one division in .* received such of 2 and 3"):
        merge_state([first, second, str(other / "state")], into)
    os.remove(other / "state" / "shard-00001-of-00002.json")
    with pytest.raises(ValueError, match="expected 2 shards that have ended in .*received 0"):
        merge_state([str(other / "state")], into)
    assert not os.path.exists(into)


def test_more_shards_than_images_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match="m <= 50, received 0/51: there are 50 images"):
        evaluate(evaluation(run, tmp_path, shard="0/51", **ATTACKS))


@pytest.mark.slow
def test_the_component_ends_as_one_that_attacks_all(net, artifacts, tmp_path):
    examples, shards = artifacts
    given = {"examples": examples, "model": net}
    words = "--attacks=clean,pgd5 --epsilon=0.1 --num_images=50 --audit_images=0 --calibration"
    for i, folder in enumerate(shards):
        execute(
            evaluator,
            given,
            {"evaluation": folder},
            {"settings": to_json(by_flags(EvaluateConfig, f"{words} --shard={i}/2")), "seed": 3},
        )
    parameters = {"settings": to_json(by_flags(EvaluateConfig, words)), "seed": 3}
    execute(evaluator, given, {"evaluation": str(tmp_path / "all")}, parameters)
    named = InputArtifacts({f"shard-{i}": folder for i, folder in enumerate(shards)})
    execute(merge_evaluations, given | {"shards": named}, {"evaluation": str(tmp_path / "merged")}, parameters)
    assert sorted(os.listdir(tmp_path / "merged")) == sorted(os.listdir(tmp_path / "all"))
    reports = [read_record(AttackResults, str(tmp_path / name / "results.json")) for name in ("all", "merged")]
    assert of_attacks(reports[0]) == of_attacks(reports[1])


def test_the_pipeline_attacks_in_shards_and_merges_them():
    words = "--attacks=clean,pgd20 --calibration"
    graph = build(PipelineConfig(methods="standard", seeds="0", evaluate_flags=words, evaluate_shards=2))
    names = [f"evaluator-standard-0-shard-{i}" for i in range(2)]
    wanted = [by_flags(EvaluateConfig, f"{words} --shard={i}/2") for i in range(2)]
    assert [by_json(EvaluateConfig, graph.nodes[name].parameters["settings"]) for name in names] == wanted
    # The images that are measured are wanted by the step that measures them.
    assert "sample_export-standard-0" not in graph.nodes[names[0]].parents()
    merged = graph.nodes["merge_evaluations-standard-0"]
    assert merged.parents() >= {"data_prep", "trainer-standard-0", "sample_export-standard-0", *names}
    assert "merge_evaluations-standard-0" in graph.nodes["report"].parents()
