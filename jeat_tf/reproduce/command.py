"""What `python -m jeat_tf.reproduce` does with its settings, and what it prints."""

import importlib.util
import os
import pathlib
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.methods.presets import presets
from jeat_tf.reproduce.rows import ReproduceConfig, Row, Scale, chosen, scale_of
from jeat_tf.train.planning import plan

if TYPE_CHECKING:
    from components.settings import PipelineConfig

_PACKAGE = pathlib.Path(__file__).parents[1]


def main(config: ReproduceConfig) -> None:
    """Makes the tables or figures, and says where each is; one that fails does not stop the others."""
    failed = []
    for name, row in chosen(config).items():
        try:
            reason = _make(config, name, row)
        except ValueError as error:
            reason = str(error)
        if reason:
            failed.append(f"{name}: {reason}")
    if failed:
        sys.exit("error: " + "\n".join(failed))


def _make(config: ReproduceConfig, name: str, row: Row) -> str:
    """Runs what the row needs, and returns what failed; empty: nothing."""
    settings = pipeline_of(config, name, row)
    print(f"{row.source}: {row.shows}; systems {settings.methods}")
    report = os.path.join(settings.pipeline_root, f"{name}.html")  # report.html is that of the last row
    if failed := _of_pipeline("run").run_with_report(settings, report):
        return failed
    print(f"{name}: {report} has the paper's numbers beside ours")
    return ""


def pipeline_of(config: ReproduceConfig, name: str, row: Row) -> "PipelineConfig":
    """The pipeline that makes one table or figure.

    Raises:
      ValueError: an unknown scale, or no preset of the row at that scale.
    """
    scale = scale_of(config)
    here, absent = _systems(row, scale)
    if absent:
        print(f"left out, because --scale={config.scale} has no preset: {', '.join(absent)}")
    if not here:
        raise ValueError(f"no system of {name} has a preset at --scale={config.scale}; take another scale")
    # A digits or MNIST run of a CIFAR-100 row uses the scale's own data.
    cifar100 = row.cifar100 and scale.dataset == "cifar10"
    dataset = "cifar100" if cifar100 else scale.dataset
    return replace(
        _of_pipeline("settings").PipelineConfig(),
        pipeline_root=os.path.join(config.output_dir, config.scale),
        dataset=dataset,
        data_dir=config.data_dir,
        presets=str(presets()[f"{scale.folder}/{here[0]}"].parent),
        methods=",".join(here),
        seeds=config.seeds or scale.seeds,
        train_flags=f"{row.train} {config.train_flags}".strip(),
        judge=scale.judge,
        sample_flags=f"--num={scale.num}",
        evaluate_flags=f"--attacks={row.attacks} --epsilon={scale.epsilon} {row.measures}".strip(),
        draw_flags=f"{row.draw} --classes={','.join(map(str, range(100)))}" if row.draw and cifar100 else row.draw,
    )


def print_plan(config: ReproduceConfig) -> None:
    """Prints hours and memory of each system, one seed of it; a system that cannot be planned has the reason."""
    planned = set()
    for name, row in chosen(config).items():
        print(f"# {name}")
        for preset, training in _trainings(config, pipeline_of(config, name, row)):
            if training in planned:
                print(f"# {preset}: as above; it is trained once")
                continue
            planned.add(training)
            print(f"# {preset}: {_cost(training)}")


def _cost(training: TrainConfig) -> str:
    try:
        found = plan(training)
    except (ValueError, OSError) as reason:
        return f"not known: {reason}"
    memory = (16 * found.parameters + found.activation_bytes + found.buffer_bytes) / 2**20
    return f"{found.hours:.3g} hours a seed, {memory:,.0f} MiB (estimate); {found.basis}"


def _trainings(config: ReproduceConfig, settings: "PipelineConfig") -> Iterator[tuple[str, TrainConfig]]:
    for preset in settings.methods.split(","):
        file = os.path.join(settings.presets, f"{preset}.flags")
        training = parsed(TrainConfig, f"--flagfile={file}", *shlex.split(settings.train_flags))
        yield preset, replace(training, dataset=settings.dataset, data_dir=config.data_dir)


def _of_pipeline(module: str) -> Any:
    """A module of the pipeline, which lies beside this package in a clone and inside it where it is installed."""
    found = importlib.util.find_spec("components")  # perhaps another project's
    ours = found is not None and found.origin and pathlib.Path(found.origin).parents[1] == _PACKAGE.parent
    return importlib.import_module(f"components.{module}" if ours else f"jeat_tf.components.{module}")


def _systems(row: Row, scale: Scale) -> tuple[list[str], list[str]]:
    """The row's presets that the scale has, and those that it lacks."""
    names = [f"{preset}{scale.suffix}" for preset in row.presets]
    known = presets()
    here = [name for name in names if f"{scale.folder}/{name}" in known]
    return here, [name for name in names if name not in here]
