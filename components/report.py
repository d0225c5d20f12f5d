"""Trained nets, their measures and images -> one report."""

import os
import tempfile

from jeat_tf.config.draw import DrawConfig
from jeat_tf.core.flat import replace
from jeat_tf.draw.run import draw
from jeat_tf.report.collect import Drawing, read_drawings, read_run
from jeat_tf.report.hparams import results, write_results
from jeat_tf.report.run import report_of

from .core import component
from .given import by_json
from .types import (
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


@component(version="1")
def report(
    models: InputArtifacts[Model],
    evaluations: InputArtifacts[Evaluation],
    samples: InputArtifacts[Samples],
    examples: InputArtifact[Examples],
    report: OutputArtifact[Report],
    *,
    draw_settings: Parameter[str] = "",
) -> None:
    """Puts models, their evaluations and samples of the same name together, as `python -m jeat_tf.report` reads them.

    The report names what is missing because its step failed, with the reason. `tensorboard/` has a row for each run in
    the HParams table.

    Args:
      draw_settings: of `python -m jeat_tf.draw` as JSON, for figures of the first net of each method; empty: none.

    Raises:
      ValueError: no net was made.
    """
    if not models.paths:
        why = "; ".join(f"{name}: {reason}" for name, reason in models.missing.items())
        raise ValueError(f"expected at least one net, but none was made: {why or 'none was requested'}")
    runs = []
    for name, path in models.paths.items():
        beside = {"evaluation": evaluations.paths.get(name), "samples": samples.paths.get(name)}
        folders = {inside: folder for inside, folder in beside.items() if folder is not None}
        run = read_run(path, name, folders)
        runs.append(run)
        write_results(os.path.join(report.path, "tensorboard", name), run.config, results(run))
    missing = {f"the net of {name}": why for name, why in models.missing.items()}
    # Without a net there is nothing else; its own reason says it all.
    missing |= {
        f"{what} of {name}": why
        for what, artifacts in (("the evaluation", evaluations), ("the images", samples))
        for name, why in artifacts.missing.items()
        if name not in models.missing
    }
    with tempfile.TemporaryDirectory() as figures:
        drawings = _draw(draw_settings, models.paths, examples.path, figures) if draw_settings else []
        report_of(runs, drawings, out=os.path.join(report.path, "report.html"), missing=missing)


def _draw(settings: str, models: dict[str, str], examples: str, folder: str) -> list[Drawing]:
    """The papers' figures of the nets "METHOD-SEED", of each method the first."""
    first: dict[str, str] = {}
    for name, path in models.items():
        first.setdefault(name.rpartition("-")[0], path)
    given = ",".join(f"{name}={path}" for name, path in first.items())
    config = by_json(DrawConfig, settings)
    draw(replace(config, dataset=os.path.join(examples, "tfds"), data_dir="", models=given, output_dir=folder))
    return read_drawings(folder)
