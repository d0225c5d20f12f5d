"""What `python -m jeat_tf.reproduce` does with its settings, and what it prints."""

import importlib.util
import os
import pathlib
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.methods.presets import presets
from jeat_tf.reproduce.rows import ReproduceConfig, Row, Scale, chosen
from jeat_tf.train.planning import plan

if TYPE_CHECKING:
    from components.settings import PipelineConfig

_PACKAGE = pathlib.Path(__file__).parents[1]


def main(config: ReproduceConfig) -> None:
    """Runs what a table or figure needs, and says where it is."""
    name, row, _ = chosen(config)
    settings = pipeline_of(config)
    print(f"{row.source}: {row.shows}; systems {settings.methods}")
    report = os.path.join(settings.pipeline_root, f"{name}.html")  # report.html is that of the last row
    _of_pipeline("run").main(settings, report)
    print(f"{name}: {report} has the paper's numbers beside ours")


def pipeline_of(config: ReproduceConfig) -> "PipelineConfig":
    """The pipeline that makes the table or figure.

    Raises:
      ValueError: an unknown name, or no preset of the row at that scale.
    """
    name, row, scale = chosen(config)
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
    settings = pipeline_of(config)
    for preset, training in _trainings(config, settings):
        try:
            found = plan(training)
        except (ValueError, OSError) as reason:
            print(f"# {preset}: not known: {reason}")
            continue
        memory = (16 * found.parameters + found.activation_bytes + found.buffer_bytes) / 2**20
        print(f"# {preset}: {found.hours:.3g} hours a seed, {memory:,.0f} MiB (estimate); {found.basis}")


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
