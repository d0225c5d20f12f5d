"""Trained nets, their measures and images -> one report."""

import os
import tempfile

from components.core import component
from components.types import Evaluation, InputArtifacts, Model, OutputArtifact, Report, Samples
from jeat_tf.config.fields import replace
from jeat_tf.config.report import ReportConfig
from jeat_tf.report import report as write_report
from jeat_tf.results_board import results, write_results
from jeat_tf.trained import run_config


@component(version="1")
def report(
    models: InputArtifacts[Model],
    evaluations: InputArtifacts[Evaluation],
    samples: InputArtifacts[Samples],
    report: OutputArtifact[Report],
) -> None:
    """Puts models, their evaluations and samples of the same name together, as `python -m jeat_tf.report` reads them.

    What is missing because its step failed stands in the report with the reason. `tensorboard/` has a row for each run
    in the HParams table.
    """
    with tempfile.TemporaryDirectory() as runs:
        for name, path in models.paths.items():
            run = os.path.join(runs, name)
            os.makedirs(run)
            for file in os.listdir(path):
                os.symlink(os.path.join(path, file), os.path.join(run, file))
            for folder, artifacts in (("evaluation", evaluations), ("samples", samples)):
                if name in artifacts.paths:
                    os.symlink(artifacts.paths[name], os.path.join(run, folder))
        for name, path in models.paths.items():
            config = run_config(path)
            if config is not None:
                log_dir = os.path.join(report.path, "tensorboard", name)
                write_results(log_dir, config, results(os.path.join(runs, name, "evaluation")))
        missing = {
            f"{what} of {name}": why
            for what, artifacts in (("the net", models), ("the evaluation", evaluations), ("the images", samples))
            for name, why in artifacts.missing.items()
        }
        write_report(replace(ReportConfig(), runs=runs, out=os.path.join(report.path, "report.html")), missing=missing)
