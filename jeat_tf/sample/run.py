"""`python -m jeat_tf.sample`: images from a classifier, by chains down its energy."""

import dataclasses
import datetime
import os
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.config import build
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.files import writable_folder
from jeat_tf.core.provenance import provenance
from jeat_tf.core.records import write_record
from jeat_tf.core.seeds import fold_in
from jeat_tf.models.files import weights_sha256
from jeat_tf.runs.locks import held
from jeat_tf.runs.parts import part_of, shard_name
from jeat_tf.runs.sample_results import SampledShard, SampleIdentity, SampleResults
from jeat_tf.runs.samples import FILES, SampleFolder, Shard, Spent, file_batches
from jeat_tf.runs.second_nets import open_second_of
from jeat_tf.runs.trained import open_trained, output_folder, run_config, stored_buffer
from jeat_tf.sample.chains import Drawing
from jeat_tf.sample.diagnostics import (
    animate,
    diagnostics,
    first_images,
    first_of,
    seen_by,
    starts_of,
    write_class_grid,
)
from jeat_tf.sample.judging import judged
from jeat_tf.sample.plan import (
    check_given,
    classes_of,
    labels_of,
    plan_of,
    protocol_of,
    start_of,
    test_images,
    training_of,
)
from jeat_tf.sample.tune import check_images, check_tuning, to_be_tuned, tune
from jeat_tf.samplers.generation import check_rule
from jeat_tf.samplers.stages import parse_stages
from jeat_tf.samplers.values import Chain


def sample(config: SampleConfig) -> SampleResults | SampledShard:
    """Runs fresh chains and writes `samples-*`, `traces-*`, `grid.png`, `chain.gif` and `samples.json`.

    No image is selected or dropped. An interrupted run resumes at the file of images it was at. With `shard`, only the
    files of that part are drawn, bit for bit as in a run that draws all of them; `shard-*.json` takes the place of the
    picture and of `samples.json`, which are about all images.

    Returns:
      report: protocol (start, stages, seed, digest of the net), diagnostics of the chains, seconds per image, and,
        with a judge, its agreement with the requested classes and the Frechet classifier distance to the training
        images. For a shard: protocol and seconds.

    Raises:
      ValueError: bad settings, an unreadable net, a net that does not fit the data, or a folder of other samples.
      FolderInUse: another process writes into the folder.
      FileNotFoundError: the data set is not prepared.
    """
    check_given(config)
    files = file_batches(config.num, config.batch_size, config.shard_size)
    part = part_of(config.shard, len(files), FILES)
    plan = plan_of(config, run_config(config.model))
    check_tuning(config, plan)
    plan = to_be_tuned(plan) if config.tune is not None else plan
    trained = open_trained(config.model, config.data, config.origin)
    net, data = trained.net, trained.data
    check_rule(net, plan.stages)
    opened = open_second_of(config.judge, "judge", data) if config.judge else None
    config = dataclasses.replace(config, classes=classes_of(config, plan, trained))
    labels = labels_of(config, data.num_classes)
    training = training_of(trained)
    start = start_of(config, plan, trained, training, labels)
    if config.tune is not None:
        check_images(config, trained)  # before anything is written
    folder = writable_folder(output_folder(config.model, config.output_dir, "samples"), "output_dir")
    with held(folder, "jeat_tf.sample", shard=config.shard) as hold:
        tuning = None
        if config.tune is not None:
            tuning = tune(config, trained, start, plan.start_words, labels, folder)
            tuning.write(folder)
            plan = plan._replace(
                stages=parse_stages(tuning.best.stage), rule=f"tuned, the best of {len(tuning.trials)}"
            )
        protocol = protocol_of(config, plan)
        samples = SampleFolder(folder)
        samples.begin(
            SampleIdentity(
                weights_sha256=weights_sha256(net),
                changes=trained.changes,
                dataset=data.name,
                num=config.num,
                **vars(protocol),
            ),
            resume=config.resume,
            part=part if config.shard else None,
            others=hold.others,
        )
        hold.begun()

        jit = build.compiles(config.jit_compile)
        drawing = Drawing(net, start, plan.stages, config.readings, jit_compile=jit)
        _draw(config, samples, drawing, labels, files, part)

        drawn, seconds, cpu_seconds = samples.spent(part, len(files))
        spent = {
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu_seconds, 2),
            "seconds_per_image": seconds / drawn if drawn else None,
        }
        origin = trained.identity() | {
            "num": config.num,
            "protocol": protocol,
            **spent,
            "date": datetime.date.today().isoformat(),
            "provenance": provenance(),
        }
        if config.shard:
            of_shard = SampledShard(**origin, shard=config.shard, files=(part.start, part.stop), drawn=drawn)
            write_record(os.path.join(folder, f"shard-{shard_name(config.shard)}.json"), of_shard)
            return of_shard

        shown = first_images(samples, data.num_classes)
        of_shown = first_of(starts_of(config, drawing, labels), len(shown.labels)).images[: len(shown.labels)]
        buffer = stored_buffer(config.model) if plan.name == "buffer" else None
        found = diagnostics(config, plan.stages, drawing, shown, samples.traces(), training, of_shown, buffer)
        graded = None
        if opened is not None:
            starts = starts_of(config, drawing, labels)
            graded = judged(opened, samples, starts, Shard(*training()), test_images(trained), seed=config.seed)
        report = SampleResults(**origin, diagnostics=found, tuning=tuning, judge=graded)
        write_class_grid(os.path.join(folder, "grid.png"), shown, data.class_names)
        report.write(folder)
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
    with tqdm(
        total=sum(len(files[index]) for index in part) * steps, desc="sampling", unit="step", disable=None
    ) as bar:
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
            animate(folder, frames, batches[0], readings)
    x = np.concatenate(images)
    labels = seen_by(drawing.net, x) if config.classes == "none" else np.concatenate([batches[i] for i in of_file])
    joined = {
        name: np.concatenate([part[name] for part in traces], axis=1) for name in traces[0] if name != "trace_step"
    }
    return Shard(x, labels.astype(np.int64)), joined | {"trace_step": traces[0]["trace_step"]}
