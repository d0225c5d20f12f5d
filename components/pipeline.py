"""The graph: one data set, methods x seeds of trainer, sample_export (in shards) and evaluator, one report."""

import pathlib
import shlex
from typing import Any

from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.evaluate.threats import attack_names
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.samples import FILES, file_batches

from .core import Graph, Output
from .data_prep import data_prep
from .evaluator import evaluator
from .merge_evaluations import merge_evaluations
from .merge_samples import merge_samples
from .report import report
from .sample_export import sample_export
from .settings import PipelineConfig
from .trainer import trainer
from .words import flag_words


def build(config: PipelineConfig) -> Graph:
    """The graph that the settings describe.

    Raises:
      ValueError: no methods or seeds, seeds that are no numbers, a preset that is not there, or more shards than files
        of samples.
    """
    methods, seeds = [name.strip() for name in config.methods.split(",") if name.strip()], _seeds(config.seeds)
    if not methods:
        raise ValueError("expected --methods, received none; e.g. --methods=standard,pgd_at,jeat")
    train_flags = {method: _preset(config.presets, method, config.train_flags) for method in methods}
    # Before training begins: flags that cannot be read, or a shard without a file, would fail after it.
    judge_flags = _preset(config.presets, config.judge, config.judge_flags) if config.judge else ""
    for given in filter(None, (*train_flags.values(), judge_flags)):
        parsed(TrainConfig, *flag_words(given))
    parsed(DrawConfig, *flag_words(config.draw_flags))
    _check_shards(config)
    measured = parsed(EvaluateConfig, *flag_words(config.evaluate_flags))
    graph = Graph()
    data = graph.add(
        "data_prep", data_prep, dataset=config.dataset, data_dir=config.data_dir, download=config.download
    ).output("examples")
    judge = None
    if config.judge:
        judge = graph.add("trainer-judge", trainer, examples=data, flags=judge_flags, seed=0).output("model")
    models: dict[str, Output] = {}
    samples: dict[str, Output] = {}
    evaluations: dict[str, Output] = {}
    for method in methods:
        for seed in seeds:
            name = f"{method}-{seed}"
            model = graph.add(f"trainer-{name}", trainer, examples=data, flags=train_flags[method], seed=seed)
            models[name] = model.output("model")
            samples[name] = _samples(graph, name, config, data, models[name], seed)
            graded = {
                "samples": samples[name] if judge or measured.generation.features else None,
                "judge": judge,
            }
            evaluations[name] = _evaluation(graph, name, config, data, models[name], graded, seed)
    made = {"models": models, "evaluations": evaluations, "samples": samples}
    graph.add("report", report, **made, examples=data, draw_flags=config.draw_flags)
    return graph


def _samples(graph: Graph, name: str, config: PipelineConfig, data: Output, model: Output, seed: int) -> Output:
    """Adds what draws the images of a net: one step, or one for each shard and one that merges them."""
    common = {"examples": data, "model": model, "seed": seed}
    count, sample_flags = config.sample_shards, config.sample_flags
    if count == 1:
        return graph.add(f"sample_export-{name}", sample_export, flags=sample_flags, **common).output("samples")
    shards = {
        f"shard-{i}": graph.add(
            f"sample_export-{name}-shard-{i}", sample_export, flags=f"{sample_flags} --shard={i}/{count}", **common
        ).output("samples")
        for i in range(count)
    }
    merged = graph.add(f"merge_samples-{name}", merge_samples, shards=shards, flags=sample_flags, **common)
    return merged.output("samples")


def _evaluation(
    graph: Graph, name: str, config: PipelineConfig, data: Output, model: Output, graded: dict[str, Any], seed: int
) -> Output:
    """Adds what measures a net: one step, or one for each shard of the test images and one that merges them."""
    common = {"examples": data, "model": model, "seed": seed}
    count, evaluate_flags = config.evaluate_shards, config.evaluate_flags
    if count == 1:
        return graph.add(f"evaluator-{name}", evaluator, flags=evaluate_flags, **common, **graded).output("evaluation")
    shards = {
        f"shard-{i}": graph.add(
            f"evaluator-{name}-shard-{i}", evaluator, flags=f"{evaluate_flags} --shard={i}/{count}", **common
        ).output("evaluation")
        for i in range(count)
    }
    merged = graph.add(
        f"merge_evaluations-{name}", merge_evaluations, shards=shards, flags=evaluate_flags, **common, **graded
    )
    return merged.output("evaluation")


def _check_shards(config: PipelineConfig) -> None:
    of_samples = parsed(SampleConfig, *flag_words(config.sample_flags))
    of_evaluation = parsed(EvaluateConfig, *flag_words(config.evaluate_flags))
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


def _preset(folder: str, name: str, more: str) -> str:
    """The flags of a preset and some more, on one line: what a container can be given without the file."""
    path = pathlib.Path(folder) / f"{name}.flags"
    if not path.is_file():
        known = sorted(preset.stem for preset in pathlib.Path(folder).glob("*.flags"))
        raise ValueError(f"no preset {path}; expected one of {', '.join(known) or 'the files of --presets'}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return shlex.join([line for line in lines if line and not line.startswith("#")] + flag_words(more))
