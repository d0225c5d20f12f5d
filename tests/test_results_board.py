"""Results as rows of TensorBoard's HParams table, read back from the event files."""

import dataclasses

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from jeat_tf.config.report import ReportConfig
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import write_text
from jeat_tf.core.flat import replace
from jeat_tf.core.records import write_record
from jeat_tf.report.collect import read_run
from jeat_tf.report.hparams import results, write_results
from jeat_tf.report.run import report
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


def test_the_report_writes_a_row_for_each_run(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / "runs" / f"jem-{seed}"
        write_text(folder / "config.json", to_json(replace(TrainConfig(), method="jem", seed=seed)))
        write_record(str(folder / "evaluation" / ATTACKS), attack_results((row("clean", 45 + seed, 0.0),)))
    board = tmp_path / "board"
    report(ReportConfig(runs=str(tmp_path / "runs"), out=str(tmp_path / "report.html"), tensorboard=str(board)))
    for seed in (0, 1):
        events = EventAccumulator(str(board / f"jem-{seed}")).Reload()
        assert tf.make_ndarray(events.Tensors("accuracy/clean")[0].tensor_proto) == np.float32((45 + seed) / 50)


def test_results_are_those_that_evaluate_wrote(tmp_path):
    write_text(tmp_path / "config.json", to_json(TrainConfig()))
    assert results(read_run(str(tmp_path), "run")) == {}
    folder = tmp_path / "evaluation"
    rows = row("clean", 45, 0.0), dataclasses.replace(row("pgd20", 25, 8 / 255), epsilon_text="8/255")
    write_record(str(folder / ATTACKS), attack_results(rows))
    for name, record in density_results().items():
        write_record(str(folder / name), record)
    found = results(read_run(str(tmp_path), "run"))
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
