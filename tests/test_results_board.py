"""Results as rows of TensorBoard's HParams table, read back from the event files."""

import json

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.report.hparams import results, write_results


def test_a_run_is_a_row_of_its_settings_and_numbers(tmp_path):
    config = replace(TrainConfig(), method="jem", seed=3)
    write_results(str(tmp_path), config, {"accuracy/clean": 0.5, "calibration/ece": 0.25})
    events = EventAccumulator(str(tmp_path)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert started.hparams["method"].string_value == "jem"
    assert started.hparams["seed"].number_value == 3
    values = {tag: tf.make_ndarray(events.Tensors(tag)[0].tensor_proto) for tag in events.Tags()["tensors"]}
    assert values["accuracy/clean"] == 0.5
    assert values["calibration/ece"] == 0.25


def test_results_are_those_that_evaluate_wrote(tmp_path):
    assert results(str(tmp_path)) == {}
    rows = [
        {"attack": "clean", "accuracy": 0.9},
        {"attack": "pgd20", "accuracy": 0.5, "in_ball": True, "epsilon_text": "8/255"},
    ]
    (tmp_path / "results.json").write_text(json.dumps({"results": rows}))
    (tmp_path / "calibration.json").write_text(json.dumps({"nll": 0.1, "brier": 0.2, "ece": 0.3}))
    (tmp_path / "ood.json").write_text(json.dumps({"detection": {"uniform": {"max_logit": {"auroc": 0.7}}}}))
    generation = {"fresh_chains": {"classifier_score": {"mean": 9.0}, "precision": 0.5, "protocol": {}}, "seed": 0}
    (tmp_path / "generation.json").write_text(json.dumps(generation))
    assert results(str(tmp_path)) == {
        "accuracy/clean": 0.9,
        "accuracy/pgd20_8_255": 0.5,
        "calibration/nll": 0.1,
        "calibration/brier": 0.2,
        "calibration/ece": 0.3,
        "ood/uniform_max_logit_auroc": 0.7,
        "fresh_chains/classifier_score": 9.0,
        "fresh_chains/precision": 0.5,
    }
