"""Generated images, measured: scores with their protocol, diversity, and what was copied from the training images."""

import os
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf import build, figures
from jeat_tf.artifacts import load_net
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.data import ImageData, as_floats, check_images
from jeat_tf.evaluation import diversity, features, neighbours, scores
from jeat_tf.evaluation.protocol import Protocol
from jeat_tf.evaluation.statistics import FeatureStatistics
from jeat_tf.stored_samples import SampleFolder, Shard
from jeat_tf.trained import data_of_run, output_folder, stored_buffer

_KEPT = 10_000  # images whose features and pixels are kept for what compares image by image
_MEMORISED = 1_000  # generated images whose nearest training images are looked for
_PAIRS = 100  # of images of a class, for its diversity
_CANDIDATES = 200  # nearest in l2, among which the nearest by SSIM is looked for where there are many images
_MEASURES = {"l2": "l2 over pixels in [0, 1]", "ssim": "1 - SSIM", "features": "l2 over features"}


class _Set(NamedTuple):
    """One set of generated images.

    Attributes:
      shards: the images, some thousand at a time.
      how: the fields of `Protocol` that say where they come from.
      conditional: whether the labels are classes that were asked for.
    """

    shards: Iterator[Shard]
    how: dict[str, Any]
    conditional: bool


class _Seen(NamedTuple):
    """A set of images through the feature net: statistics of all, arrays of the first 10,000, probabilities of all."""

    statistics: FeatureStatistics
    features: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    agreement: float


def measure_generation(
    config: EvaluateConfig, net: keras.Model, run: TrainConfig | None, folder: str
) -> dict[str, Any]:
    """Scores of the stored samples, and of the run's replay buffer if it has one; writes figures to `folder`.

    Raises:
      ValueError: bad settings, an unusable feature net, or samples that are missing, damaged, not pixels or too few.
      FileNotFoundError: the data set is not prepared.
    """
    wanted = config.generation
    if wanted.neighbours < 0 or wanted.score_splits < 1:
        raise ValueError("expected --neighbours >= 0 and --score_splits >= 1")
    looking = _feature_net(config)
    data = build.dataset(data_of_run(config.data, run))
    sets = _sets(config, data, run)
    images, labels = data.arrays(wanted.reference_split)
    reference = _seen(looking, _real(images, labels), len(labels), "real")
    held_out = as_floats(data.arrays(config.split)[0]) if config.split != wanted.reference_split else None
    return {
        name: _measured(
            config,
            one,
            looking,
            reference,
            as_floats(images),
            held_out,
            data,
            os.path.join(folder, f"{name}_neighbours"),
        )
        for name, one in sets.items()
    }


def _feature_net(config: EvaluateConfig) -> features.FeatureNet:
    wanted = config.generation
    if not wanted.features:
        raise ValueError(
            "expected --features, received nothing: a .keras classifier of the same images (no download; it gives a "
            "classifier score and a Frechet classifier distance), inception, or keras_inception"
        )
    if wanted.features == "inception":
        return features.inception_2015(wanted.features_path, sha256=wanted.features_sha256)
    if wanted.features == "keras_inception":
        return features.keras_inception(wanted.features_path or "imagenet")
    return features.classifier(load_net(wanted.features))


def _sets(config: EvaluateConfig, data: ImageData, run: TrainConfig | None) -> dict[str, _Set]:
    where = config.generation.generation
    folder = SampleFolder(output_folder(config.model, "", "samples") if where == "samples" else where)
    drawn = folder.identity()
    stages = tuple(_words(stage) for stage in drawn["stages"])
    sets = {
        "fresh_chains": _Set(
            folder.shards(),
            {
                "samples": "fresh chains" if stages else "start alone",
                "classes": drawn["classes"],
                "selection": drawn["selection"],
                "start": drawn["start"],
                "stages": stages,
                "steps": drawn["steps"],
                "seed": drawn["seed"],
            },
            conditional=drawn["classes"] != "none",
        )
    }
    buffer = stored_buffer(config.model)
    if buffer is not None and run is not None:
        labels = np.arange(len(buffer.images)) % data.num_classes
        sets["replay_buffer"] = _Set(
            iter([Shard(np.clip(buffer.images, 0, 1), labels.astype(np.int64))]),
            {
                "samples": "replay buffer",
                "classes": "of the slots, in turn" if run.buffer.class_conditional else "none",
                "selection": "none; clipped to [0, 1]",
                "start": run.chain.chain_start,
                "stages": (f"training chains, {float(buffer.age.mean()):.1f} rounds since the restart on average",),
                "steps": run.chain.chain_steps,
                "seed": run.run.seed,
            },
            conditional=run.buffer.class_conditional,
        )
    return sets


def _words(stage: dict[str, Any]) -> str:
    settings = ",".join(f"{key}={value}" for key, value in stage.items() if key != "stage")
    return f"{stage['stage']}:{settings}"


def _real(images: np.ndarray, labels: np.ndarray) -> Iterator[Shard]:
    for i in range(0, len(images), 1000):
        yield Shard(as_floats(images[i : i + 1000]), labels[i : i + 1000])


def _seen(looking: features.FeatureNet, shards: Iterator[Shard], count: int, what: str) -> _Seen:
    """Runs all images through the feature net; only probabilities and the first images stay."""
    statistics: FeatureStatistics | None = None
    kept_features, kept_images, all_labels, all_probabilities = [], [], [], []
    kept = 0
    with tqdm(total=count or None, desc=f"features, {what}", unit="image") as bar:
        for images, labels in shards:
            check_images(images)
            found, probabilities = looking.of(images)
            statistics = statistics or FeatureStatistics(found.shape[1], net_sha256=looking.sha256)
            statistics.update(found)
            if kept < _KEPT:
                kept_features.append(found[: _KEPT - kept])
                kept_images.append(images[: _KEPT - kept])
                kept += len(kept_images[-1])
            all_labels.append(labels)
            all_probabilities.append(probabilities)
            bar.update(len(images))
    if statistics is None:
        raise ValueError(f"expected images, received none ({what})")
    labels, probabilities = np.concatenate(all_labels), np.concatenate(all_probabilities)
    return _Seen(
        statistics,
        np.concatenate(kept_features),
        np.concatenate(kept_images),
        labels,
        probabilities,
        float(np.mean(probabilities.argmax(-1) == labels)),
    )


def _measured(
    config: EvaluateConfig,
    generated: _Set,
    looking: features.FeatureNet,
    reference: _Seen,
    real: np.ndarray,
    held_out: np.ndarray | None,
    data: ImageData,
    figure: str,
) -> dict[str, Any]:
    seen = _seen(looking, generated.shards, 0, generated.how["samples"])
    names = features.score_names(looking.kind)
    count, kept = len(seen.labels), len(seen.features)
    labels, real_labels = seen.labels[:kept], reference.labels[: len(reference.features)]
    score = scores.inception_score(seen.probabilities, config.generation.score_splits)
    subset = min(1000, kept, len(reference.features))
    kernel = scores.kernel_distance(seen.features, reference.features, subset_size=subset, seed=config.seed)
    closeness = scores.precision_recall(seen.features, reference.features)
    coverage = scores.density_coverage(seen.features, reference.features)
    found: dict[str, Any] = {
        names.score: {"mean": score.mean, "std": score.std},
        names.frechet: scores.frechet_distance(seen.statistics, reference.statistics),
        f"{names.frechet}_bias": scores.bias_note(count),
        names.kernel: {**kernel._asdict(), "subset_size": subset},
        **closeness._asdict(),
        **coverage._asdict(),
    }
    try:
        found[f"{names.frechet}_infinity"] = scores.frechet_infinity(seen.features, reference.statistics)._asdict()
    except ValueError as error:
        found[f"{names.frechet}_infinity"] = f"not measured: {error}"
    if generated.conditional:
        if looking.kind == "classifier":
            found["agreement"] = seen.agreement
        found |= _by_class(seen, reference, labels, real_labels, names, config.seed)
    predicted = seen.probabilities.argmax(-1)
    if looking.kind == "classifier":
        found["predicted_classes"] = diversity.class_counts(predicted, data.num_classes).tolist()
    found["nearest_training_images"] = _nearest(config, seen, reference, real, held_out, figure)
    how = Protocol(
        n=count,
        **generated.how,
        reference_data=data.name,
        reference_split=config.generation.reference_split,
        reference_count=reference.statistics.count,
        feature_net=looking.name,
        feature_kind=looking.kind,
        feature_sha256=looking.sha256,
        resize=looking.resize,
        splits=config.generation.score_splits,
    )
    return found | {"protocol": how.as_dict()}


def _by_class(
    seen: _Seen, reference: _Seen, labels: np.ndarray, real_labels: np.ndarray, names: features.ScoreNames, seed: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    asked = np.unique(labels)
    of_asked = np.isin(real_labels, asked)
    if np.bincount(labels)[asked].min() >= 2:
        real = reference.features[of_asked], real_labels[of_asked]
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            by_class = scores.per_class_frechet(seen.features, labels, *real)
        found[f"{names.frechet}_of_class"] = {str(k): value for k, value in by_class.items()}
        if notes:
            found[f"{names.frechet}_of_class_bias"] = str(notes[0].message)
        pairs = {"seed": tf.constant([seed, 10]), "num_pairs": _PAIRS}
        for name, one, y in (("", seen, labels), ("_of_real_images", reference, real_labels)):
            found[f"ssim_within_class{name}"] = diversity.within_class_ssim(one.images, y, **pairs).mean
            found[f"feature_distance_within_class{name}"] = diversity.within_class_distance(
                one.features, y, **pairs
            ).mean
    return found


def _nearest(
    config: EvaluateConfig, seen: _Seen, reference: _Seen, real: np.ndarray, held_out: np.ndarray | None, figure: str
) -> dict[str, Any]:
    """Whether samples are nearer to training images than held-out images are; and Fig. 7 of JEAT for the first few."""
    generated = seen.images[:_MEMORISED]
    found: dict[str, Any] = {"generated": len(generated), "training": len(real)}
    if held_out is not None:
        found["memorisation_l2"] = neighbours.memorisation(generated, real, held_out[:_MEMORISED])._asdict()
    shown = generated[: config.generation.neighbours]
    if not len(shown):
        return found
    known = len(reference.features)
    by = {
        "l2": neighbours.nearest_l2(shown, real, k=5),
        "ssim": _nearest_ssim(shown, real),
        "features": neighbours.nearest_l2(seen.features[: len(shown)], reference.features, k=5),
    }
    among = {
        "l2": "all",
        "ssim": f"the {_CANDIDATES} nearest in l2" if len(real) > _KEPT else "all",
        "features": f"the first {known}" if known < len(real) else "all",
    }
    for measure, near in by.items():
        pairs = figures.neighbours(shown, real, indices=near.indices, distances=near.distances)
        drawn = figures.draw_neighbours(pairs, measure=_MEASURES[measure])
        figures.save_figure(f"{figure}_{measure}", drawn, **pairs._asdict())
        found[f"nearest_{measure}"] = {"among": among[measure], "distances": near.distances[:, 0].tolist()}
    return found


def _nearest_ssim(shown: np.ndarray, real: np.ndarray) -> neighbours.Neighbours:
    if len(real) <= _KEPT:
        return neighbours.nearest_ssim(shown, real, k=5)
    candidates = neighbours.nearest_l2(shown, real, k=_CANDIDATES).indices
    parts = [neighbours.nearest_ssim(shown[[i]], real[near], k=5) for i, near in enumerate(candidates)]
    return neighbours.Neighbours(
        np.stack([near[part.indices[0]] for near, part in zip(candidates, parts, strict=True)]),
        np.concatenate([part.distances for part in parts]),
    )
