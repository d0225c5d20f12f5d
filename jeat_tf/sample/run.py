"""`python -m jeat_tf.sample`: images from a classifier, by chains down its energy."""

import dataclasses
import datetime
import functools
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.files import writable_folder, write_image, write_json
from jeat_tf.core.flat import chosen
from jeat_tf.core.provenance import provenance
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw, ImagesAndLabels
from jeat_tf.core.values import nearest
from jeat_tf.data.datasets import as_floats, split_names
from jeat_tf.data.labelled import open_labelled
from jeat_tf.models.files import load_net, net_file, weights_sha256
from jeat_tf.models.flow import flow_samples
from jeat_tf.runs.parts import part_of, shard_name
from jeat_tf.runs.samples import FILES, SampleFolder, Shard, Spent, file_batches
from jeat_tf.runs.trained import Trained, check_fit, conditional_buffer, open_trained, output_folder, stored_buffer
from jeat_tf.sample.chains import Drawing
from jeat_tf.sample.diagnostics import (
    animate,
    buffer_age,
    class_grid,
    diagnostics,
    first_images,
    json_numbers,
    judged,
    seen_by,
)
from jeat_tf.samplers.stages import Stage, named_recipe, parse_stages
from jeat_tf.samplers.start_layer import Given
from jeat_tf.samplers.starts import STARTS, Start
from jeat_tf.samplers.values import Chain


def sample(config: SampleConfig) -> dict[str, Any]:
    """Runs fresh chains and writes `samples-*`, `traces-*`, `grid.png`, `chain.gif` and `samples.json`.

    No image is selected or dropped. A run that was interrupted goes on at the file of images it was at. With
    `shard`, only the files of that part are drawn, bit for bit as a run that draws all of them; `shard-*.json` takes
    the place of the picture and of `samples.json`, which are about all images.

    Returns:
      report: protocol (start, stages, seed, digest of the net), diagnostics of the chains, seconds per image, and,
        with a judge, its agreement with the classes asked for and the Frechet classifier distance to the training
        images. Of a shard: protocol and seconds.

    Raises:
      ValueError: bad settings, an unreadable net, a net that does not fit the data, or a folder of other samples.
      FileNotFoundError: the data set is not prepared.
    """
    files = file_batches(config.num, config.batch_size, config.shard_size)
    part = part_of(config.shard, len(files), FILES)
    plan = _plan(config)
    trained = open_trained(config.model, config.data)
    net, data = trained.net, trained.data
    judge = load_net(config.judge) if config.judge else None
    if judge is not None:
        check_fit(judge, data.name, data.image_shape, data.num_classes)
    config = dataclasses.replace(config, classes=_classes(config, plan, trained))
    labels = _labels(config, data.num_classes)
    training = _training(trained)
    start = _start(config, plan, trained, training, labels)
    folder = writable_folder(output_folder(config.model, config.output_dir, "samples"), "output_dir")
    protocol = _protocol(config, plan)
    samples = SampleFolder(folder)
    samples.begin(
        {"weights_sha256": weights_sha256(net), "dataset": data.name, "num": config.num, **protocol},
        resume=config.resume,
    )

    jit = {"auto": bool(tf.config.list_physical_devices("GPU")), "true": True, "false": False}[config.jit_compile]
    drawing = Drawing(net, start, plan.stages, config.readings, jit_compile=jit)
    _draw(config, samples, drawing, labels, files, part)

    origin = {**trained.identity(), "num": config.num, "protocol": protocol}
    drawn, seconds, cpu_seconds = samples.spent(part, len(files))
    spent = {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "seconds_per_image": seconds / drawn if drawn else None,
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    }
    if config.shard:
        report = {**origin, "shard": config.shard, "files": [part.start, part.stop], "drawn": drawn, **spent}
        write_json(os.path.join(folder, f"shard-{shard_name(config.shard)}.json"), report)
        return report

    shown = first_images(samples, data.num_classes)
    found = diagnostics(config, plan.stages, drawing, shown, samples.traces(), training)
    if plan.name == "buffer":
        found |= buffer_age(config)
    report = {**origin, "diagnostics": found, **spent}
    if judge is not None:
        report["judge"] = {
            "net": net_file(config.judge),
            "weights_sha256": weights_sha256(judge),
            **judged(config, judge, drawing, samples, training()[0]),
        }
    report = json_numbers(report)
    write_image(os.path.join(folder, "grid.png"), class_grid(shown, data.num_classes))
    write_json(os.path.join(folder, "samples.json"), report)
    return report


def _draw(
    config: SampleConfig,
    samples: SampleFolder,
    drawing: Drawing,
    labels: np.ndarray,
    files: list[range],
    part: range,
) -> None:
    """Writes the files of a part that are not there.

    Args:
      files: the batches of each file.
      part: numbers of the files to write.
    """
    batches = np.split(labels, range(config.batch_size, len(labels), config.batch_size))
    steps = sum(s.steps if isinstance(s.sampler, Chain) else 1 for s in drawing.stages)
    with tqdm(total=sum(len(files[index]) for index in part) * steps, desc="sampling", unit="step") as bar:
        for index in part:
            if samples.has(index, len(files)):
                bar.update(len(files[index]) * steps)
                continue
            started, cpu_started = time.monotonic(), time.process_time()
            shard, traces = _drawn(config, samples.path, drawing, batches, files[index], bar.update)
            spent = Spent(len(shard.labels), time.monotonic() - started, time.process_time() - cpu_started)
            samples.write(index, len(files), shard, traces, spent, format=config.format)


def _drawn(
    config: SampleConfig,
    folder: str,
    drawing: Drawing,
    batches: list[np.ndarray],
    of_file: range,
    progress: Callable[[int], None],
) -> tuple[Shard, dict[str, np.ndarray]]:
    """The images of one file, and what was read from their chains."""
    images, traces = [], []
    for i in of_file:
        seed = fold_in(tf.constant([config.seed, 6]), i)
        frames, readings = drawing.batch(tf.constant(batches[i]), seed, progress)
        images.append(frames[-1].numpy())
        traces.append(readings)
        if i == 0:
            animate(folder, frames, batches[0])
    x = np.concatenate(images)
    labels = seen_by(drawing.net, x) if config.classes == "none" else np.concatenate([batches[i] for i in of_file])
    joined = {
        name: np.concatenate([part[name] for part in traces], axis=1) for name in traces[0] if name != "trace_step"
    }
    return Shard(x, labels.astype(np.int64)), joined | {"trace_step": traces[0]["trace_step"]}


class Plan(NamedTuple):
    """What is drawn.

    Attributes:
      start: the start as a value; None where images are given by name.
      name: what the command line calls it.
      stages: what is done to the images, in order.
    """

    start: Start | None
    name: str
    stages: tuple[Stage, ...]


def _plan(config: SampleConfig) -> Plan:
    recipe = named_recipe(config.recipe)
    stages = parse_stages(config.stages) if config.stages else recipe.stages
    name = config.start or recipe.start.word
    known = (*STARTS, "buffer", "images", "flow")
    if name not in known:
        raise ValueError(f'unknown start "{name}"; {nearest(name, known)}')
    if (name == "images") != bool(config.start_images):
        raise ValueError("--start=images and --start_images belong together")
    start = chosen(name, "start", STARTS, recipe.start) if name in STARTS else None
    given = {"rank": config.start_rank, "retained": config.start_retained}
    given = {field: value for field, value in given.items() if value is not None}
    for field in given:
        if not hasattr(start, field):
            raise ValueError(f"--start_{field} has no effect with --start={name}. Remove it")
    if start is not None and given:
        start = dataclasses.replace(start, **given)
    return Plan(start, name, stages)


def _classes(config: SampleConfig, plan: Plan, trained: Trained) -> str:
    """What --classes comes to: balanced, none or a list."""
    towards = [stage.sampler.word for stage in plan.stages if stage.of_classes]
    bound = plan.name == "flow" or (plan.start is not None and plan.start.of_classes)
    able = bound or plan.name == "images" or (plan.name == "buffer" and conditional_buffer(trained.config))
    if config.classes == "none" and (towards or bound):
        what = " and ".join(towards) or f"the start {plan.name}"
        raise ValueError(
            f"--classes=none draws without classes, and {what} needs them; use --recipe=unconditional, or "
            "energy=marginal and a start without classes"
        )
    if config.classes not in ("", "none") and not (towards or able):
        raise ValueError(
            f"--classes={config.classes} asks for classes, and neither the start {plan.name} nor a stage goes by "
            "them; leave --classes out, or use a start or an energy of classes"
        )
    return config.classes or ("balanced" if towards or able else "none")


def _labels(config: SampleConfig, num_classes: int) -> np.ndarray:
    """int64[num], the class asked for in each image; zeros, which nothing goes by, without classes."""
    if config.classes == "none":
        return np.zeros(config.num, np.int64)
    if config.classes == "balanced":
        return np.arange(config.num) % num_classes
    try:
        chosen = [int(part) for part in config.classes.split(",")]
    except ValueError:
        raise ValueError(
            f"expected --classes=balanced, none or a list such as 3,5, received {config.classes}"
        ) from None
    outside = [k for k in chosen if not 0 <= k < num_classes]
    if outside:
        raise ValueError(f"expected classes in 0..{num_classes - 1}, those of the net, received {outside}")
    return np.resize(chosen, config.num)


def _training(trained: Trained) -> Callable[[], ImagesAndLabels]:
    run = trained.config
    validation_percent, seed = (run.stream.validation_percent, run.run.seed) if run else (0, 0)

    @functools.cache
    def training() -> ImagesAndLabels:
        images, labels = trained.data.arrays(split_names(trained.data, validation_percent, seed)[0])
        return as_floats(images), labels

    return training


def _start(
    config: SampleConfig,
    plan: Plan,
    trained: Trained,
    training: Callable[[], ImagesAndLabels],
    labels: np.ndarray,
) -> Draw:
    if plan.name == "flow":
        return flow_samples(trained.net)
    if plan.name == "buffer":
        return _buffer_start(config, trained)
    if plan.name == "images":
        images = open_labelled(config.start_images, "")
        check_fit(trained.net, config.start_images, images.image_shape, None)
        missing = sorted(set(labels.tolist()) - set(images.labels.tolist()))
        if missing and config.classes != "none":
            raise ValueError(
                f"expected images of every class asked for in {config.start_images}, received none of {missing}"
            )
        return Given(images.images[:], images.labels if config.classes != "none" else None)
    assert plan.start is not None  # every other name was dealt with above
    layer = plan.start.layer(trained.data.image_shape, trained.data.num_classes)
    if not layer.adapted:
        layer.adapt(*training())
    return layer


def _buffer_start(config: SampleConfig, trained: Trained) -> Draw:
    buffer = stored_buffer(config.model)
    if buffer is None or trained.config is None:
        raise ValueError(f"expected a run with a replay buffer to start from, received {config.model} without one")
    classes = np.arange(len(buffer.images)) % trained.data.num_classes
    return Given(buffer.images, classes if conditional_buffer(trained.config) and config.classes != "none" else None)


def _protocol(config: SampleConfig, plan: Plan) -> dict[str, Any]:
    return {
        "samples": "fresh chains",
        "selection": "none",
        "classes": config.classes,
        "recipe": config.recipe if not (config.start or config.stages) else "",
        "start": plan.name if plan.start is None else repr(plan.start),
        "start_images": config.start_images,
        "stages": [stage.words() for stage in plan.stages],
        "steps": sum(stage.steps for stage in plan.stages),
        "seed": config.seed,
        "batch_size": config.batch_size,
        "format": config.format,
        "shard_size": config.shard_size,
        "readings": config.readings,
    }
