"""Real digits through train, sample, evaluate, report and TensorBoard's HParams table, on the files of each verb."""

import json

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from components.core import Component
from components.report import report
from components.types import InputArtifact, InputArtifacts, OutputArtifact
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.density import measure
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.runs.trained import run_config
from jeat_tf.runs.training import read_training
from jeat_tf.sample.run import sample


def test_numbers_of_every_verb_arrive_in_the_report_and_in_the_table(run, tmp_path):
    """The fixture has trained; samples and evaluation lie outside the run, in folders whose names have a blank."""
    drawn, attacked, out = (tmp_path / name for name in ("some images", "an evaluation", "out"))
    chain = {"start": "class_gaussian", "stages": "sgld:steps=2", "num": 40, "readings": 1, "judge": f"{run}/net.keras"}
    sample(replace(SampleConfig(), model=run, output_dir=str(drawn), **chain))
    settings = replace(EvaluateConfig(), model=run, output_dir=str(attacked), num_images=40, epsilon="0.1")
    measure(replace(settings, calibration=True, ood="uniform"))
    evaluate(replace(settings, attacks="clean,fgsm", audit_images=0))
    assert isinstance(report, Component)
    report.function(
        InputArtifacts({"pgd_at-0": run}),
        InputArtifacts({"pgd_at-0": str(attacked)}),
        InputArtifacts({"pgd_at-0": str(drawn)}),
        InputArtifact(""),
        OutputArtifact(str(out)),
    )

    found = json.loads((out / "report.json").read_text())
    (method,) = found["methods"]
    numbers = {column["title"]: method["values"][key]["mean"] for key, column in found["columns"].items()}
    results, calibration, samples, ood = (
        json.loads((folder / name).read_text())
        for folder, name in (
            (attacked, "results.json"),
            (attacked, "calibration.json"),
            (drawn, "samples.json"),
            (attacked, "ood.json"),
        )
    )
    clean, fgsm = (row["accuracy"] for row in results["results"][:2])
    assert 0 < fgsm < clean
    assert numbers["clean"] == pytest.approx(100 * clean)
    assert next(n for title, n in numbers.items() if title.startswith("fgsm")) == pytest.approx(100 * fgsm)
    assert numbers["ECE, %"] == pytest.approx(100 * calibration["ece"])
    assert numbers["agreement, samples"] == pytest.approx(100 * samples["judge"]["agreement"])
    assert numbers["uniform, log density"] == ood["detection"]["uniform"]["log_density"]["auroc"]
    assert numbers["steps"] == read_training(run).steps
    assert samples["weights_sha256"] == results["weights_sha256"] == read_training(run).weights_sha256
    page = (out / "report.html").read_text()
    assert page.count("<img") >= 2  # the grid of the samples, and the evaluation's figures

    events = EventAccumulator(str(out / "tensorboard" / "pgd_at-0")).Reload()
    for tag, wanted in (("accuracy/clean", clean), ("calibration/nll", calibration["nll"])):
        assert tf.make_ndarray(events.Tensors(tag)[0].tensor_proto) == pytest.approx(wanted)
    assert run_config(run).method.word == "pgd_at"
