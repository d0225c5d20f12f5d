"""The verb `draw`: every figure once, of one run that has all there is to draw and one that has next to nothing."""

import json
import logging
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.energy import energy
from jeat_tf.core.flat import replace
from jeat_tf.core.records import read_record
from jeat_tf.core.seeds import fold_in
from jeat_tf.data.datasets import as_floats
from jeat_tf.draw.run import draw
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.methods.recipes import methods
from jeat_tf.metrics.neighbours import ssim
from jeat_tf.models.files import load_net, weights_sha256
from jeat_tf.runs.drawings import Drawings
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.sample.run import sample
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import RECIPES
from jeat_tf.samplers.values import SGLD
from jeat_tf.train.run import train
from tests.conftest import linear_net

TRAINED = {"method": "standard", "epochs": 1, "batch_size": 300, "robust_every": 0, "images_every": 0}
SMALL = {"chain_steps": 3, "points": 3, "num_images": 2, "classes": "3,0"}
COMMON = {"contours_joint_energy", "contours_marginal_energy", "grids", "gradients_class_gaussian", "gradients_uniform"}


@pytest.fixture(scope="module")
def full(tmp_path_factory, data_dir):
    """Folder of a run with changes of energy, an evaluation at two radii, and samples."""
    folder = str(tmp_path_factory.mktemp("runs") / "full")
    train(replace(TrainConfig(), model_dir=folder, energy_changes_every=2, **TRAINED))
    attacked = {"attacks": "clean,fgsm", "epsilon": "0.05,0.1", "num_images": 50, "audit_images": 0}
    evaluate(replace(EvaluateConfig(), model=folder, **attacked))
    sample(replace(SampleConfig(), model=folder, num=20, stages="sgld:steps=2", readings=0))
    return folder


@pytest.fixture(scope="module")
def drawn(full, run, tmp_path_factory):
    """Report and folder of everything that can be drawn of both."""
    folder = tmp_path_factory.mktemp("figures")
    bare = tmp_path_factory.mktemp("bare") / "run"  # other modules evaluate and sample the run that they share
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("evaluation*", "samples*"))
    models = f"full={full}, robust={bare}"
    return draw(replace(DrawConfig(), models=models, output_dir=str(folder), **SMALL)), folder


@pytest.fixture(scope="module")
def net_file(tmp_path_factory):
    """A .keras file in a folder of its own, without a run."""
    path = str(tmp_path_factory.mktemp("elsewhere") / "dense.keras")
    linear_net().save(path)
    return path


def one(models, folder, figures, **settings):
    return draw(replace(DrawConfig(), models=models, figures=figures, output_dir=str(folder), **SMALL | settings))


def numbers(folder, name):
    with np.load(os.path.join(folder, f"{name}.npz"), allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_recording_changes_of_energy_leaves_the_run_as_it_is(full, tmp_path):
    alone = train(replace(TrainConfig(), model_dir=str(tmp_path), **TRAINED))
    assert alone.weights_sha256 == weights_sha256(load_net(full))


def test_a_run_on_images_as_they_are_records_the_attack_of_its_settings(full):
    record = numbers(full, "energy_changes")
    np.testing.assert_array_equal(record["step"], [0, 2])
    assert record["delta_x_joint_energy"].shape == (2, 128)
    assert record["delta_x_joint_energy"].mean() > 0


def test_every_figure_is_drawn_with_its_numbers_beside_it(drawn):
    report, folder = drawn
    of_each = {f"{kind}_{name}" for kind in ("equations", "neighbours") for name in ("full", "robust")}
    stored = {"energy_changes", "training_curves", "robustness_fgsm"}
    assert set(report.figures) == COMMON | of_each | stored
    assert report.not_drawn == {}
    files = {f"{name}.{suffix}" for name in report.figures for suffix in ("png", "npz")}
    assert set(os.listdir(folder)) == files | {"figures.json", ".jeat_tf.lock"}


def test_the_record_says_what_is_shown_and_of_which_weights(drawn, full, run):
    report, folder = drawn
    assert read_record(Drawings, f"{folder}/figures.json") == report
    digests = {"full": weights_sha256(load_net(full)), "robust": weights_sha256(load_net(run))}
    for record in report.figures.values():
        assert {name: model.weights_sha256 for name, model in record.models.items()}.items() <= digests.items()
        assert record.shows
        assert record.seed == 0
        assert record.provenance.tensorflow == tf.__version__
    assert set(report.figures["contours_joint_energy"].models) == {"full", "robust"}
    assert set(report.figures["energy_changes"].models) == {"full"}
    assert report.figures["gradients_uniform"].settings["chain"] == repr(SGLD(3))


def test_contours_are_around_the_image_asked_for(drawn, run, digits):
    images, labels = digits.arrays("test")
    shown = numbers(drawn[1], "contours_joint_energy")
    np.testing.assert_array_equal(shown["image"], as_floats(images[0]))
    expected = energy(load_net(run)(as_floats(images[:1])), labels[:1])[0]
    np.testing.assert_allclose(shown["joint_energy"][1, 1, 1], expected, rtol=1e-5)


def test_grids_and_neighbours_show_the_stored_samples_of_a_run(drawn, full):
    report, folder = drawn
    shard = next(SampleFolder(os.path.join(full, "samples")).shards())
    grids = numbers(folder, "grids")
    for row, k in enumerate((3, 0)):
        np.testing.assert_array_equal(grids["images"][0, row], shard.images[shard.labels == k][:2])
    near = numbers(folder, "neighbours_full")
    similarity = ssim(near["images"][:, None], near["neighbours"])
    np.testing.assert_allclose(near["distances"], 1 - similarity, atol=1e-5)
    assert (np.diff(near["distances"]) >= 0).all()
    np.testing.assert_array_equal(near["images"], grids["images"][0, :, 0])
    protocols = report.figures["grids"].settings["generated"]
    assert protocols["full"]["source"] == "stored samples"
    assert protocols["full"]["steps"] == 2
    assert protocols["robust"]["source"] == "drawn for this figure"
    assert "no samples of known origin" in protocols["robust"]["instead_of_stored_samples"]


@pytest.mark.parametrize(
    ("settings", "reason"), [({}, "samples of other weights"), ({"num_images": 3}, "fewer than 3 images")]
)
def test_samples_that_are_another_nets_or_too_few_are_not_shown(full, run, tmp_path, settings, reason):
    copied = shutil.copytree(full, tmp_path / "copied")
    if not settings:
        shutil.copy(f"{run}/net.keras", copied / "net.keras")
    report = one(f"copied={copied}", tmp_path / "figures", "grids", **settings)
    protocol = report.figures["grids"].settings["generated"]["copied"]
    assert protocol["source"] == "drawn for this figure"
    assert reason in protocol["instead_of_stored_samples"]


def copied(run, folder, *given):
    """A copy of the run without samples, as one with other settings."""
    there = shutil.copytree(run, folder, ignore=shutil.ignore_patterns("samples*"))
    (there / "config.json").write_text(to_json(parsed(TrainConfig, "--dataset=digits", *given)))
    return there


@pytest.mark.parametrize(
    "word", ["pgd_at", "robust_jem", *(pytest.param(word, marks=pytest.mark.slow) for word in ("pre_jeat", "weat"))]
)
def test_without_stored_samples_images_are_drawn_by_the_rule_of_the_methods_paper(word, run, tmp_path, digits):
    there = copied(run, tmp_path / "there", f"--method={word}")
    report = one(f"net={there}", tmp_path / "figures", "grids")
    recipe = methods()[word]().drawing()
    start = recipe.start.layer(digits.image_shape, 10)
    if not start.adapted:
        images, labels = digits.arrays("train")
        start.adapt(as_floats(images), labels)
    seed = fold_in(tf.constant([0, 10]), 0)
    expected = generate(load_net(there), [3, 3, 0, 0], seed=seed, start=start, stages=recipe.stages)
    shown = numbers(tmp_path / "figures", "grids")["images"][0].reshape(4, *digits.image_shape)
    np.testing.assert_allclose(shown, np.clip(expected, 0, 1), atol=1e-4)
    protocol = report.figures["grids"].settings["generated"]["net"]
    assert protocol["rule"] == recipe.source
    assert protocol["start"] == repr(recipe.start)


def test_a_flow_is_drawn_exactly(run, tmp_path):
    there = copied(run, tmp_path / "there", "--preset=digits/flow")
    for file in there.glob("*.keras"):
        jt.models.glow((8, 8, 1), 10).save(file)
    report = one(f"net={there}", tmp_path / "figures", "grids")
    assert report.figures["grids"].settings["generated"]["net"]["start"] == "Exact()"
    assert numbers(tmp_path / "figures", "grids")["images"].std() > 0


def test_a_net_of_no_known_method_is_drawn_by_steps_of_one_length(net_file, tmp_path):
    report = one(f"net={net_file}", tmp_path / "figures", "grids", dataset="digits")
    assert report.figures["grids"].settings["generated"]["net"]["rule"] == RECIPES["normalized"].source


def test_robustness_curves_are_the_counts_of_the_evaluation(drawn, full):
    with open(os.path.join(full, "evaluation", "results.json"), encoding="utf-8") as f:
        rows = json.load(f)["results"]
    counts = {row["epsilon"]: row["correct"] for row in rows if row["attack"] in ("clean", "fgsm")}
    shown = numbers(drawn[1], "robustness_fgsm")
    np.testing.assert_array_equal(shown["epsilon"], [0, 0.05, 0.1])
    np.testing.assert_array_equal(shown["full_right"], [counts[epsilon] for epsilon in (0, 0.05, 0.1)])


def test_figures_are_functions_of_the_seed_and_earlier_ones_stay_recorded(drawn, full, run, tmp_path):
    report, folder = drawn
    models = f"full={full},robust={run}"
    copied = shutil.copytree(folder, tmp_path / "copied")
    again = one(models, copied, "contours", seed=1)
    assert set(again.figures) == set(report.figures)
    assert [again.figures[name].seed for name in ("contours_joint_energy", "grids")] == [1, 0]
    before, other = (numbers(path, "contours_joint_energy") for path in (folder, copied))
    assert np.any(before["directions"] != other["directions"])
    one(models, copied, "contours", seed=0)
    np.testing.assert_array_equal(numbers(copied, "contours_joint_energy")["directions"], before["directions"])


def test_a_record_of_earlier_versions_is_refused_and_kept(drawn, run, tmp_path):
    copied = shutil.copytree(drawn[1], tmp_path / "copied")
    (copied / "figures.json").write_text('{"figures": {}, "not_drawn": {}}')
    with pytest.raises(ValueError, match="a file without schema.*after removing that file, or choose another"):
        one(f"robust={run}", copied, "contours")
    assert (copied / "figures.json").read_text() == '{"figures": {}, "not_drawn": {}}'


@pytest.mark.slow
def test_what_cannot_be_drawn_is_named_unless_it_is_asked_for(net_file, tmp_path):
    report = one(net_file, tmp_path, "", dataset="digits", split="holdout")
    name = os.path.basename(os.path.dirname(net_file))
    expected = COMMON - {"contours_joint_energy", "contours_marginal_energy"}
    assert set(report.figures) == expected | {f"equations_{name}", f"neighbours_{name}"}
    assert "--energy_changes_every" in report.not_drawn["changes"]
    assert "history.json" in report.not_drawn["curves"]
    assert 'no split "holdout"' in report.not_drawn["contours"]
    for kind in ("changes", "curves", "contours"):
        with pytest.raises(ValueError, match="no run has|no image to draw around"):
            one(net_file, tmp_path, f"{kind},gradients", dataset="digits", split="holdout")


@pytest.mark.slow
def test_many_nets_do_not_make_tensorflow_warn_of_retracing(net_file, tmp_path):
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        models = ",".join(f"{name}={net_file}" for name in "abcdef")
        one(
            models,
            tmp_path,
            "grids,equations",
            dataset="digits",
            chain_steps=1,
            num_images=1,
            classes="0",
            start="uniform",
        )
    finally:
        tf.get_logger().removeHandler(handler)
    assert not [text for text in said if "retracing" in text]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": ""}, "--models=name=path"),
        ({"models": "a=net,a=net"}, '"a" twice'),
        ({"models": "runs/a=net"}, "a name that a file can have"),
        ({"figures": "contour"}, "did you mean contours"),
        ({"classes": "3,10"}, r"--classes in 0\.\.9, received 3,10"),
        ({"classes": "three"}, "--classes such as 3,5"),
        ({"num_images": 0}, "num_images"),
        ({"chain_steps": 0}, "chain_steps"),
        ({"radius": 0.0}, "radius > 0"),
        ({"points": 4}, "odd num_points"),
        ({"image": 397}, r"--image in 0\.\.396"),
        ({"output_dir": ""}, "--output_dir"),
        ({"dataset": ""}, "--dataset"),
    ],
)
def test_bad_settings_are_refused(net_file, tmp_path, settings, message):
    usual = {"models": net_file, "figures": "contours", "dataset": "digits", "output_dir": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        draw(replace(DrawConfig(), **usual | settings))


def test_nets_of_other_images_or_of_several_data_sets_are_refused(run, tmp_path):
    linear_net((4, 4, 1)).save(tmp_path / "small.keras")
    with pytest.raises(ValueError, match=r"expected a net for images of shape \[8, 8, 1\]"):
        one(f"robust={run},small={tmp_path / 'small.keras'}", tmp_path, "contours")
    other = shutil.copytree(run, tmp_path / "other")
    (other / "config.json").write_text((other / "config.json").read_text().replace('"digits"', '"mnist"'))
    with pytest.raises(ValueError, match="nets of one data set, received digits of robust, mnist of other"):
        one(f"robust={run},other={other}", tmp_path, "contours")
