"""Results as rows of TensorBoard's HParams table, read back from the event files."""

import dataclasses

import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.core.records import write_record
from jeat_tf.report.hparams import results, write_results
from jeat_tf.runs.results import ATTACKS
from tests.made import attack_results, density_results, row


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
    rows = row("clean", 45, 0.0), dataclasses.replace(row("pgd20", 25, 8 / 255), epsilon_text="8/255")
    write_record(str(tmp_path / ATTACKS), attack_results(rows))
    for name, record in density_results().items():
        write_record(str(tmp_path / name), record)
    found = results(str(tmp_path))
    assert found.pop("real_images/fid") == 3.5
    assert {name: number for name, number in found.items() if not name.startswith("real_images/")} == {
        "accuracy/clean": 0.9,
        "accuracy/pgd20_8_255": 0.5,
        "calibration/nll": 0.125,
        "calibration/brier": 0.125,
        "calibration/ece": 0.125,
        "ood/uniform_log_density_auroc": 0.75,
        "fresh_chains/inception_score": 8.5,
        "fresh_chains/fid": 38.0,
        "fresh_chains/kid": 0.5,
        "fresh_chains/precision": 0.25,
        "fresh_chains/recall": 0.5,
        "fresh_chains/density": 1.5,
        "fresh_chains/coverage": 0.75,
    }
