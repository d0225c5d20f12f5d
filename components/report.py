"""Trained nets, their measures and images -> one report."""

import os
import tempfile

from components.core import component
from components.types import (
    Evaluation,
    Examples,
    InputArtifact,
    InputArtifacts,
    Model,
    OutputArtifact,
    Parameter,
    Report,
    Samples,
)
from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.report import ReportConfig
from jeat_tf.core.flat import replace
from jeat_tf.draw.run import draw
from jeat_tf.report.hparams import results, write_results
from jeat_tf.report.run import report as write_report
from jeat_tf.runs.trained import run_config


@component(version="1")
def report(
    models: InputArtifacts[Model],
    evaluations: InputArtifacts[Evaluation],
    samples: InputArtifacts[Samples],
    examples: InputArtifact[Examples],
    report: OutputArtifact[Report],
    *,
    draw_flags: Parameter[str] = "",
) -> None:
    """Puts models, their evaluations and samples of the same name together, as `python -m jeat_tf.report` reads them.

    What is missing because its step failed stands in the report with the reason. `tensorboard/` has a row for each run
    in the HParams table.

    Args:
      draw_flags: of `python -m jeat_tf.draw`, separated by blanks, for figures of the first net of each method; empty:
        none.
    """
    if not models.paths:
        why = "; ".join(f"{name}: {reason}" for name, reason in models.missing.items())
        raise ValueError(f"expected at least one net, but none was made: {why or 'none was asked for'}")
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
        missing = {f"the net of {name}": why for name, why in models.missing.items()}
        # Without a net there is nothing else; its own reason says it all.
        missing |= {
            f"{what} of {name}": why
            for what, artifacts in (("the evaluation", evaluations), ("the images", samples))
            for name, why in artifacts.missing.items()
            if name not in models.missing
        }
        if draw_flags:
            _draw(draw_flags, models.paths, examples.path, os.path.join(runs, "figures"))
        write_report(replace(ReportConfig(), runs=runs, out=os.path.join(report.path, "report.html")), missing=missing)


def _draw(flags: str, models: dict[str, str], examples: str, folder: str) -> None:
    """The papers' figures of the nets "METHOD-SEED", of each method the first."""
    first: dict[str, str] = {}
    for name, path in models.items():
        first.setdefault(name.rpartition("-")[0], path)
    given = ",".join(f"{name}={path}" for name, path in first.items())
    settings = parsed(DrawConfig, *flags.split())
    draw(replace(settings, dataset=os.path.join(examples, "tfds"), data_dir="", models=given, output_dir=folder))
