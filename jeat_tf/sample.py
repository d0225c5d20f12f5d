"""`python -m jeat_tf.sample`: images from a classifier, by chains down its energy."""

import dataclasses
import datetime
import functools
import os
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf import build, cli
from jeat_tf.artifacts import (
    load_net,
    net_file,
    provenance,
    weights_sha256,
    writable_folder,
    write_arrays,
    write_image,
    write_json,
)
from jeat_tf.attacks import inference
from jeat_tf.config import SampleConfig
from jeat_tf.data import ImageData, as_floats, split_names
from jeat_tf.evaluation import agreement, classifier_features, frechet_distance
from jeat_tf.loops import input_gradient
from jeat_tf.models import flow_samples
from jeat_tf.pictures import grid
from jeat_tf.samplers import Stage, generate
from jeat_tf.seeds import fold_in
from jeat_tf.trained import check_fit, open_trained, output_folder

_SEGMENT = 10  # steps between two readings of a chain
_SHOWN_OF_CLASS = 10


def sample(config: SampleConfig) -> dict[str, Any]:
    """Runs fresh chains and writes `samples.npz`, `grid.png` and `samples.json`.

    The classes are asked for in turn, so that any number of images is balanced to within one. No image is
    selected or dropped.

    Returns:
      report: protocol (start, steps, energy, seed), diagnostics of the chain, and, with a judge, its agreement
        with the classes asked for and the Frechet classifier distance to the training images.

    Raises:
      ValueError: bad settings, an unreadable net, or a net that does not fit the data.
      FileNotFoundError: the data set is not prepared.
    """
    for flag, value in {"num": config.num, "batch_size": config.batch_size}.items():
        if value < 1:
            raise ValueError(f"expected --{flag} >= 1, received {value}")
    if config.chain.chain_steps < 0:
        raise ValueError(f"expected --chain_steps >= 0, received {config.chain.chain_steps}")
    trained = open_trained(config.model, config.data)
    net, data = trained.net, trained.data
    judge = load_net(config.judge) if config.judge else None
    if judge is not None:
        check_fit(judge, data.name, data.image_shape, data.num_classes)
    folder = writable_folder(output_folder(config.model, config.output_dir, "samples"), "output_dir")

    validation_percent, seed = (run.stream.validation_percent, run.run.seed) if (run := trained.config) else (0, 0)

    @functools.cache
    def training() -> build.ImagesAndLabels:
        images, labels = data.arrays(split_names(data, validation_percent, seed)[0])
        return as_floats(images), labels

    labels = np.arange(config.num) % data.num_classes
    started = time.monotonic()
    starts, images, traces = _chains(config, net, data, training, labels)
    seconds = time.monotonic() - started

    report = {
        **trained.identity(),
        "num": config.num,
        "protocol": {
            "samples": "fresh chains, none selected",
            "classes": "balanced, in turn",
            "energy": config.energy,
            "seed": config.seed,
            "batch_size": config.batch_size,
            **dataclasses.asdict(config.prelude),
            **dataclasses.asdict(config.chain),
            "pixel_step_size": build.chain_steps(config.chain).step_size,
            "pixel_noise_std": build.chain_steps(config.chain).noise_std,
        },
        "diagnostics": _diagnostics(config, net, images, labels, traces),
        "seconds": round(seconds, 2),
        "seconds_per_image": seconds / config.num,
        "date": datetime.date.today().isoformat(),
        "provenance": provenance(),
    }
    if judge is not None:
        real = classifier_features(judge, training()[0])
        report["judge"] = {
            "net": net_file(config.judge),
            "weights_sha256": weights_sha256(judge),
            "reference": f"{len(real)} training images",
            **_judged(judge, images, labels, real),
            "start_alone": _judged(judge, starts, labels, real),
        }
    write_arrays(os.path.join(folder, "samples.npz"), images=images, labels=labels.astype(np.int64), **traces)
    write_image(os.path.join(folder, "grid.png"), _class_grid(images, labels, data.num_classes))
    write_json(os.path.join(folder, "samples.json"), report)
    return report


def _chains(
    config: SampleConfig,
    net: keras.Model,
    data: ImageData,
    training: Any,
    labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """First and last images float32[N, H, W, C], and what was read on the way: arrays float32[readings]."""
    surrogate = build.surrogate(config.energy)
    flow = config.chain.chain_start == "flow"
    start = flow_samples(net) if flow else build.start(config.chain, data, training)
    lengths = list(_segments(config.chain.chain_steps))
    segments = {length: build.chain(dataclasses.replace(config.chain, chain_steps=length)) for length in set(lengths)}

    @tf.function(autograph=False)
    def begin(labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return generate(net, labels, seed=seed, start=start, stages=[])

    prelude = build.prelude(config.prelude)

    @tf.function(autograph=False)
    def prepare(x: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        return generate(net, labels, seed=seed, start=lambda *_: x, stages=prelude)

    # `lengths` holds one or two values, so this traces once or twice for each batch size.
    @tf.function(autograph=False)
    def advance(x: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, length: int) -> tf.Tensor:
        stage = Stage(surrogate, segments[length])
        return generate(net, labels, seed=seed, start=lambda *_: x, stages=[stage])

    @tf.function(autograph=False)
    def read(x: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        fn = surrogate(inference(net), labels)
        gradient = input_gradient(fn, x)
        return fn(x), tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)))

    starts, images, energies, gradients, saturations = [], [], [], [], []
    count = -(-len(labels) // config.batch_size)
    with tqdm(total=count * max(config.chain.chain_steps, 1), desc="sampling", unit="step") as progress:
        for i in range(count):
            part = tf.constant(labels[i * config.batch_size : (i + 1) * config.batch_size])
            seed = fold_in(tf.constant([config.seed, 6]), i)
            x = begin(part, fold_in(seed, 0))
            starts.append(x.numpy())
            if prelude:
                x = prepare(x, part, fold_in(seed, len(lengths) + 1))
            readings = [read(x, part)]
            saturated = [_saturated(x)]
            for j, length in enumerate(lengths, start=1):
                x = advance(x, part, fold_in(seed, j), length)
                readings.append(read(x, part))
                saturated.append(_saturated(x))
                progress.update(length)
            images.append(x.numpy())
            energies.append([e.numpy() for e, _ in readings])
            gradients.append([g.numpy() for _, g in readings])
            saturations.append([s * len(part) for s in saturated])
    traces = {
        "trace_step": np.cumsum([0, *lengths]),
        "trace_energy": np.concatenate(energies, axis=1).mean(axis=1),
        "trace_gradient_norm": np.concatenate(gradients, axis=1).mean(axis=1),
        "trace_saturated": np.sum(saturations, axis=0) / len(labels),
    }
    return np.concatenate(starts), np.concatenate(images), traces


def _segments(num_steps: int) -> Iterator[int]:
    yield from [_SEGMENT] * (num_steps // _SEGMENT)
    if num_steps % _SEGMENT:
        yield num_steps % _SEGMENT


def _saturated(x: tf.Tensor) -> float:
    return float(tf.reduce_mean(tf.cast((x <= 0) | (x >= 1), tf.float32)))


def _diagnostics(
    config: SampleConfig, net: keras.Model, images: np.ndarray, labels: np.ndarray, traces: dict
) -> dict[str, Any]:
    steps = build.chain_steps(config.chain)
    drift = steps.step_size * traces["trace_gradient_norm"][-1]
    noise = steps.noise_std * float(np.sqrt(images[0].size))
    return {
        "finite": bool(np.isfinite(images).all()),
        "share_classified_as_asked_by_the_net_itself": agreement(net, images, labels),
        "saturated_pixels": float(traces["trace_saturated"][-1]),
        "drift_over_noise_at_the_end": float(drift / noise) if noise else None,
        "std_over_images_of_a_class": float(
            np.mean([images[labels == k].std(axis=0).mean() for k in np.unique(labels)])
        ),
        "step": traces["trace_step"].tolist(),
        "energy": traces["trace_energy"].tolist(),
        "gradient_norm": traces["trace_gradient_norm"].tolist(),
        "saturated": traces["trace_saturated"].tolist(),
    }


def _judged(judge: keras.Model, images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> dict[str, float]:
    return {
        "agreement": agreement(judge, images, labels),
        "frechet_classifier_distance": frechet_distance(classifier_features(judge, images), real),
    }


def _class_grid(images: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """One row for each class, the first images of each."""
    rows = [images[labels == k][:_SHOWN_OF_CLASS] for k in range(num_classes)]
    columns = max(len(row) for row in rows)
    blank = np.full((1, *images.shape[1:]), 0.5, np.float32)
    rows = [np.concatenate([row, *[blank] * (columns - len(row))]) for row in rows]
    return grid(np.concatenate(rows), columns, scale=max(1, 32 // images.shape[1]))


def _main(config: SampleConfig) -> None:
    report = sample(config)
    diagnostics = report["diagnostics"]
    print(
        f"{report['num']} images in {report['seconds']:.0f} s; "
        f"{diagnostics['share_classified_as_asked_by_the_net_itself']:.1%} are the class asked for to the net itself"
    )
    if "judge" in report:
        judged = report["judge"]
        print(
            f"judge: {judged['agreement']:.1%} are the class asked for; "
            f"Frechet classifier distance {judged['frechet_classifier_distance']:.2f} to {judged['reference']} "
            f"(where the chains began: {judged['start_alone']['agreement']:.1%}, "
            f"{judged['start_alone']['frechet_classifier_distance']:.2f})"
        )
    folder = output_folder(config.model, config.output_dir, "samples")
    print(f"written: {os.path.join(folder, 'grid.png')}, samples.npz, samples.json")


if __name__ == "__main__":
    cli.run(SampleConfig, _main)
