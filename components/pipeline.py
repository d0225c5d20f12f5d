"""The graph: one data set, methods x seeds of trainer, sample_export (in shards) and evaluator, one report."""

import pathlib
from typing import Any

from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.store import to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.threats import attack_names
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.samples import FILES, file_batches

from .core import Graph, Output
from .data_prep import data_prep
from .evaluator import evaluator
from .given import by_flags, flag_words
from .merge_evaluations import merge_evaluations
from .merge_samples import merge_samples
from .report import report
from .sample_export import sample_export
from .settings import PipelineConfig
from .trainer import trainer


def build(config: PipelineConfig) -> Graph:
    """The graph that the settings describe.

    Raises:
      ValueError: no methods or seeds, seeds that are no numbers, a preset that is not there, or more shards than files
        of samples.
    """
    methods, seeds = [name.strip() for name in config.methods.split(",") if name.strip()], _seeds(config.seeds)
    if not methods:
        raise ValueError("expected --methods, received none; e.g. --methods=standard,pgd_at,jeat")
    # Before training begins: flags that cannot be read, or a shard without a file, would fail after it.
    training = {method: _preset(config.presets, method, config.train_flags) for method in methods}
    of_judge = _preset(config.presets, config.judge, config.judge_flags) if config.judge else None
    drawing = to_json(by_flags(DrawConfig, config.draw_flags)) if config.draw_flags else ""
    sampling = by_flags(SampleConfig, config.sample_flags)
    measuring = by_flags(EvaluateConfig, config.evaluate_flags)
    _check_shards(config, sampling, measuring)
    graph = Graph()
    data = graph.add(
        "data_prep", data_prep, dataset=config.dataset, data_dir=config.data_dir, download=config.download
    ).output("examples")
    judge = None
    if of_judge is not None:
        judge = graph.add("trainer-judge", trainer, examples=data, settings=to_json(of_judge), seed=0).output("model")
    models: dict[str, Output] = {}
    samples: dict[str, Output] = {}
    evaluations: dict[str, Output] = {}
    for method in methods:
        settings = to_json(training[method])
        for seed in seeds:
            name = f"{method}-{seed}"
            model = graph.add(f"trainer-{name}", trainer, examples=data, settings=settings, seed=seed)
            models[name] = model.output("model")
            samples[name] = _samples(graph, name, sampling, config.sample_shards, data, models[name], seed)
            graded = {
                "samples": samples[name] if judge or measuring.generation.features else None,
                "judge": judge,
            }
            evaluations[name] = _evaluation(
                graph, name, measuring, config.evaluate_shards, data, models[name], graded, seed
            )
    made = {"models": models, "evaluations": evaluations, "samples": samples}
    graph.add("report", report, **made, examples=data, draw_settings=drawing)
    return graph


def _samples(
    graph: Graph, name: str, config: SampleConfig, shards: int, data: Output, model: Output, seed: int
) -> Output:
    """Adds what draws the images of a net: one step, or one for each shard and one that merges them."""
    common = {"examples": data, "model": model, "seed": seed}
    whole = to_json(config)
    if shards == 1:
        return graph.add(f"sample_export-{name}", sample_export, settings=whole, **common).output("samples")
    parts = {
        f"shard-{i}": graph.add(
            f"sample_export-{name}-shard-{i}",
            sample_export,
            settings=to_json(replace(config, shard=f"{i}/{shards}")),
            **common,
        ).output("samples")
        for i in range(shards)
    }
    return graph.add(f"merge_samples-{name}", merge_samples, shards=parts, settings=whole, **common).output("samples")


def _evaluation(
    graph: Graph,
    name: str,
    config: EvaluateConfig,
    shards: int,
    data: Output,
    model: Output,
    graded: dict[str, Any],
    seed: int,
) -> Output:
    """Adds what measures a net: one step, or one for each shard of the test images and one that merges them."""
    common = {"examples": data, "model": model, "seed": seed}
    whole = to_json(config)
    if shards == 1:
        return graph.add(f"evaluator-{name}", evaluator, settings=whole, **common, **graded).output("evaluation")
    parts = {
        f"shard-{i}": graph.add(
            f"evaluator-{name}-shard-{i}",
            evaluator,
            settings=to_json(replace(config, shard=f"{i}/{shards}")),
            **common,
        ).output("evaluation")
        for i in range(shards)
    }
    merged = graph.add(f"merge_evaluations-{name}", merge_evaluations, shards=parts, settings=whole, **common, **graded)
    return merged.output("evaluation")


def _check_shards(config: PipelineConfig, of_samples: SampleConfig, of_evaluation: EvaluateConfig) -> None:
    for verb, count, settings in (
        ("sample", config.sample_shards, of_samples),
        ("evaluate", config.evaluate_shards, of_evaluation),
    ):
        if count < 1:
            raise ValueError(f"expected --{verb}_shards >= 1, received {count}")
        if settings.shard:
            raise ValueError(f"--{verb}_shards=m makes the shards itself; leave --shard out of --{verb}_flags")
    if config.sample_shards > 1:
        files = file_batches(of_samples.num, of_samples.batch_size, of_samples.shard_size)
        part_of(f"0/{config.sample_shards}", len(files), FILES)
    if config.evaluate_shards > 1 and of_evaluation.attacks == "none":
        raise ValueError(
            "expected --attacks in --evaluate_flags with --evaluate_shards: it is attacks that are divided"
        )
    if of_evaluation.attacks != "none":
        attack_names(of_evaluation)
    if 0 < of_evaluation.num_images < config.evaluate_shards:
        raise ValueError(
            f"expected --evaluate_shards <= {of_evaluation.num_images}, the images, received {config.evaluate_shards}"
        )


def _seeds(text: str) -> list[int]:
    """[0, 1, 2, 3, 4] of "0..4" or "0,1,2,3,4"."""
    try:
        if ".." in text:
            first, last = (int(part) for part in text.split(".."))
            seeds = list(range(first, last + 1))
        else:
            seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"expected --seeds as 0..4 or 0,1,2, received {text}") from None
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"expected --seeds to be different numbers from 0, received {text}")
    return seeds


def _preset(folder: str, name: str, more: str) -> TrainConfig:
    """The settings of a preset with some more flags: what a container can be given without the file."""
    path = pathlib.Path(folder) / f"{name}.flags"
    if not path.is_file():
        known = sorted(preset.stem for preset in pathlib.Path(folder).glob("*.flags"))
        raise ValueError(f"no preset {path}; expected one of {', '.join(known) or 'the files of --presets'}")
    return parsed(TrainConfig, f"--flagfile={path}", *flag_words(more))
