"""Generated images, measured: scores with their protocol, diversity, and what was copied from the training images."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf import figures
from jeat_tf.config import build
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.checks import check_labels
from jeat_tf.data.image_data import ImageData
from jeat_tf.data.labelled import Pixels
from jeat_tf.metrics import diversity, features, frechet, neighbours, scores
from jeat_tf.metrics.feature_statistics import ClassStatistics, FeatureStatistics
from jeat_tf.metrics.protocol import Protocol
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.models.foreign import Adapted
from jeat_tf.runs.generation_results import Compared, ImageScores, Nearest, NearestTrainingImages, Score
from jeat_tf.runs.sample_results import SampleIdentity
from jeat_tf.runs.samples import SampleFolder, Shard
from jeat_tf.runs.second_nets import SecondNet, open_second_of
from jeat_tf.runs.trained import conditional_buffer, data_of_run, output_folder, stored_buffer

_KEPT = 10_000  # images, drawn at random, whose features and pixels are kept for what compares image by image
_BLOCK = 1_000  # real images that are floats at once
_MEMORISED = 1_000  # generated images whose nearest training images are looked for
_PAIRS = 100  # of images of a class, for its diversity
_CANDIDATES = 200  # nearest in l2, among which the nearest by SSIM is looked for where there are many images
_LEAST = 6  # images that density and coverage need on either side
_MEASURES = {"l2": "l2 over pixels in [0, 1]", "ssim": "1 - SSIM", "features": "l2 over features"}


class _Set(NamedTuple):
    """One set of generated images.

    Attributes:
      shards: the images in [0, 1], some thousand at a time, each time from the first one.
      num: how many there are.
      how: the fields of `Protocol` that say where they come from.
      conditional: whether the labels are classes that were asked for.
    """

    shards: Callable[[], Iterator[Shard]]
    num: int
    how: dict[str, Any]
    conditional: bool


class Generated(NamedTuple):
    """What is measured and what it is compared with, read and checked.

    Attributes:
      sets: generated images by name.
      looking: the feature net.
      classifier: what is known of it, where it is a classifier of the same images.
      classes: of the feature net.
      data: the data set.
      real: images of the reference split.
      labels: their classes.
      held_out: images of the split that is evaluated; None where that is the reference.
    """

    sets: dict[str, _Set]
    looking: features.FeatureNet
    classifier: SecondNet | None
    classes: int
    data: ImageData
    real: Pixels
    labels: np.ndarray
    held_out: Pixels | None


class _Kept:
    """A random sample, in random order, of rows that come in blocks: those with the smallest of random keys."""

    def __init__(self, seed: int, most: int):
        self._rng = np.random.default_rng(seed)
        self._most = most
        self._seen = 0
        self._arrays: tuple[np.ndarray, ...] = ()

    def update(self, *arrays: np.ndarray) -> None:
        """Shows the next rows, in arrays of one length."""
        places = np.arange(self._seen, self._seen + len(arrays[0]))
        self._seen += len(places)
        rows = (self._rng.random(len(places)), places, *arrays)
        if self._arrays:
            rows = tuple(np.concatenate(both) for both in zip(self._arrays, rows, strict=True))
        order = np.argsort(rows[0])[: self._most]
        self._arrays = tuple(array[order] for array in rows)

    def rows(self) -> tuple[np.ndarray, ...]:
        """The places of the rows kept among all, and their arrays."""
        return self._arrays[1:]


class _Seen(NamedTuple):
    """A set of images through the feature net.

    Attributes:
      statistics: of all images.
      of_class: of all images of each class; None where there are no classes.
      places: int64[n], where the images kept are among all; the arrays below are of these.
      features, images, labels: of the images kept.
      predicted: int64[K], images of each class that the feature net sees.
      agreement: share of all images whose label it sees.
    """

    statistics: FeatureStatistics
    of_class: ClassStatistics | None
    places: np.ndarray
    features: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    agreement: float


def open_generated(config: EvaluateConfig, read: Adapted, run: TrainConfig | None) -> Generated:
    """Reads what `measure_generation` needs, all files of samples included, so that it does not fail half-way.

    Raises:
      ValueError: bad settings, an unusable feature net or one of other classes, or samples that are missing, damaged,
        not pixels, too few, or not of this net and data set.
      FileNotFoundError: the data set is not prepared.
    """
    wanted = config.generation
    if wanted.neighbours < 0 or wanted.score_splits < 1:
        raise ValueError("expected --neighbours >= 0 and --score_splits >= 1")
    _check_features(config)
    data = build.dataset(data_of_run(config.data, run))
    looking, classifier = _feature_net(config, data)
    sets = _sets(config, weights_sha256(read.net), read.changes, data, run)
    images, labels = data.arrays(wanted.reference_split)
    real = Pixels(images)
    others = config.split != wanted.reference_split and not (config.split == "test" and "test" not in data.splits)
    held_out = Pixels(data.arrays(config.split)[0]) if others else None
    try:
        classes = looking.of(real[:2])[1].shape[1]
    except ValueError as error:
        raise ValueError(f"--features={wanted.features}: {error}") from error
    for name, one in sets.items():
        _check_number(name, one.num, max(classes, wanted.score_splits, _LEAST))
    _check_number(f"the split {wanted.reference_split}", len(real), _LEAST)
    return Generated(sets, looking, classifier, classes, data, real, labels, held_out)


def measure_generation(config: EvaluateConfig, generated: Generated, folder: str) -> dict[str, ImageScores]:
    """Scores of the stored samples, and of the run's replay buffer if it has one; writes figures to `folder`."""
    looking, real, labels = generated.looking, generated.real, generated.labels
    blocks = (Shard(real[i : i + _BLOCK], labels[i : i + _BLOCK]) for i in range(0, len(real), _BLOCK))
    conditional = any(one.conditional for one in generated.sets.values())
    reference = _seen(looking, blocks, len(real), "real", conditional=conditional, seed=config.seed)
    return {
        name: _measured(config, generated, one, reference, os.path.join(folder, f"{name}_neighbours"))
        for name, one in generated.sets.items()
    }


def _check_number(name: str, num: int, least: int) -> None:
    if num < least:
        raise ValueError(
            f"expected at least {least} images in {name} (as many as classes of the feature net and as --score_splits, "
            f"and {_LEAST} in any case), received {num}"
        )


def _check_features(config: EvaluateConfig) -> None:
    if not config.generation.features:
        raise ValueError(
            "expected --features, received nothing: a .keras classifier of the same images (no download; it gives a "
            "classifier score and a Frechet classifier distance), inception, or keras_inception"
        )


def _feature_net(config: EvaluateConfig, data: ImageData) -> tuple[features.FeatureNet, SecondNet | None]:
    wanted = config.generation
    if wanted.features == "inception":
        return features.inception_2015(wanted.features_path, sha256=wanted.features_sha256), None
    if wanted.features == "keras_inception":
        return features.keras_inception(wanted.features_path or "imagenet"), None
    judge = open_second_of(wanted.features, "features", data)
    try:
        return features.classifier(judge.net), judge.found
    except ValueError as error:
        raise ValueError(f"--features={wanted.features}: {error}") from error


def _sets(
    config: EvaluateConfig, generator: str, changes: Sequence[str], data: ImageData, run: TrainConfig | None
) -> dict[str, _Set]:
    """The sets of images that the net with weights of the digest `generator`, so changed, has made."""
    sets = {"fresh_chains": _fresh_chains(config, generator, changes, data)}
    if (real := _real_images(config, data)) is not None:
        sets["real_images"] = real
    buffer = stored_buffer(config.model)
    if buffer is not None and run is not None:
        labels = np.arange(len(buffer.images)) % data.num_classes
        shard = Shard(_clipped(buffer.images, "the replay buffer"), labels.astype(np.int64))
        sets["replay_buffer"] = _Set(
            lambda: iter([shard]),
            len(labels),
            {
                "samples": "replay buffer",
                "classes": "of the slots, in turn" if conditional_buffer(run) else "none",
                "selection": "none; clipped to [0, 1]",
                "start": repr(getattr(run.method, "start", None)),
                "stages": (f"training chains, {float(buffer.age.mean()):.1f} rounds since the restart on average",),
                "steps": getattr(getattr(run.method, "chain", None), "steps", 0),
                "seed": run.run.seed,
                "generator_sha256": generator,
            },
            conditional=conditional_buffer(run),
        )
    return sets


def _real_images(config: EvaluateConfig, data: ImageData) -> _Set | None:
    """The control: images of the split that is evaluated; None where that is the reference, or has too few."""
    if config.split == config.generation.reference_split:
        return None
    images, labels = data.arrays(config.split)
    if len(labels) < max(data.num_classes, config.generation.score_splits, _LEAST):
        return None
    pixels = Pixels(images)
    return _Set(
        lambda: (Shard(pixels[i : i + _BLOCK], labels[i : i + _BLOCK]) for i in range(0, len(labels), _BLOCK)),
        len(labels),
        {
            "samples": "given",
            "classes": "as in the data",
            "selection": f"none; real images of the split {config.split}",
            "start": "none",
            "stages": (),
            "steps": 0,
            "seed": 0,
            "generator_sha256": "none",
        },
        conditional=True,
    )


def _fresh_chains(config: EvaluateConfig, generator: str, changes: Sequence[str], data: ImageData) -> _Set:
    where = config.generation.generation
    folder = SampleFolder(output_folder(config.model, "", "samples") if where == "samples" else where)
    drawn = folder.identity()
    _check_origin(folder.path, drawn, net_file(config.model), generator, data.name)
    if drawn.changes != tuple(changes):
        raise ValueError(
            f"expected samples in {folder.path} of the net that is evaluated, received samples of the same weights "
            f"otherwise used ({'; '.join(drawn.changes) or 'as they are'}); give the flags of "
            "`python -m jeat_tf.sample`, such as --pixels and --head"
        )
    num, clipped = 0, any("clip_pixels=false" in stage for stage in drawn.stages)
    for images, labels in folder.shards():
        if images.shape[1:] != data.image_shape or len(images) != len(labels):
            raise ValueError(
                f"expected images of shape {list(data.image_shape)}, each with a label, in {folder.path}, received "
                f"images {list(images.shape)} and labels {list(labels.shape)}"
            )
        check_labels(labels, data.num_classes)
        clipped |= not np.array_equal(_clipped(images, folder.path), images)
        num += len(images)
    return _Set(
        lambda: (Shard(_clipped(images, folder.path), labels) for images, labels in folder.shards()),
        num,
        {
            "samples": "fresh chains" if drawn.stages else "start alone",
            "classes": drawn.classes,
            "selection": drawn.selection + ("; clipped to [0, 1]" if clipped else ""),
            "start": drawn.start,
            "stages": drawn.stages,
            "steps": drawn.steps,
            "seed": drawn.seed,
            "generator_sha256": generator,
        },
        conditional=drawn.classes != "none",
    )


def _check_origin(path: str, drawn: SampleIdentity, net: str, generator: str, dataset: str) -> None:
    """Raises ValueError unless samples of the identity `drawn` are of this net and this data set."""
    if drawn.weights_sha256 != generator:
        raise ValueError(
            f"expected samples of {net} (weights {generator[:12]}...) in {path}, received samples of a net with "
            f"weights {drawn.weights_sha256[:12]}...; give the net that drew them as --model, or draw samples of "
            "this one"
        )
    if drawn.dataset != dataset:
        raise ValueError(
            f"expected samples of {dataset} in {path}, received samples of {drawn.dataset}; give that as --dataset"
        )


def _clipped(images: np.ndarray, where: str) -> np.ndarray:
    """Images in [0, 1], which chains whose pixels are free may leave and no feature net takes."""
    if not np.isfinite(images).all():
        raise ValueError(f"expected finite images in {where}, received NaN or infinity: the chains have diverged")
    return np.clip(images, 0, 1)


def _seen(
    looking: features.FeatureNet,
    shards: Iterator[Shard],
    num: int,
    what: str,
    *,
    conditional: bool,
    seed: int,
    score: scores.SplitScore | None = None,
) -> _Seen:
    """Runs all images through the feature net, and past `score`; of single images only a random sample stays."""
    statistics: FeatureStatistics | None = None
    kept = _Kept(seed, _KEPT)
    agreed = 0
    with tqdm(total=num, desc=f"features, {what}", unit="image", disable=None) as bar:
        for images, labels in shards:
            found, probabilities = looking.of(images)
            if statistics is None:
                statistics = FeatureStatistics(found.shape[1], net_sha256=looking.sha256)
                of_class = ClassStatistics(found.shape[1], net_sha256=looking.sha256) if conditional else None
                predicted = np.zeros(probabilities.shape[1], np.int64)
            statistics.update(found)
            if of_class is not None:
                of_class.update(found, labels)
            if score is not None:
                score.update(probabilities)
            kept.update(found, images, labels)
            seen = probabilities.argmax(-1)
            predicted += diversity.class_counts(seen, len(predicted))
            agreed += int(np.sum(seen == labels))
            bar.update(len(images))
    if statistics is None:
        raise ValueError(f"expected images, received none ({what})")
    places, features_kept, images_kept, labels_kept = kept.rows()
    return _Seen(statistics, of_class, places, features_kept, images_kept, labels_kept, predicted, agreed / num)


def _measured(config: EvaluateConfig, generated: Generated, one: _Set, reference: _Seen, figure: str) -> ImageScores:
    looking, splits = generated.looking, config.generation.score_splits
    score = scores.SplitScore(one.num, generated.classes, splits)
    what, conditional = one.how["samples"], one.conditional
    seen = _seen(looking, one.shards(), one.num, what, conditional=conditional, seed=config.seed, score=score)
    kept, known = len(seen.features), len(reference.features)
    protocol = Protocol(
        n=one.num,
        **one.how,
        reference_data=generated.data.name,
        reference_split=config.generation.reference_split,
        reference_count=reference.statistics.count,
        feature_net=looking.name,
        feature_kind=looking.kind,
        feature_sha256=looking.sha256,
        resize=looking.resize,
        splits=splits,
    )
    return ImageScores(
        scores=_scores(config, generated, one, seen, reference, score.result()),
        **scores.precision_recall(seen.features, reference.features)._asdict(),
        **scores.density_coverage(seen.features, reference.features)._asdict(),
        compared=Compared(images=kept, reference=known, selection=_selection(one.num, len(generated.real))),
        nearest_training_images=_nearest(config, seen, reference, generated, figure),
        protocol=protocol,
        agreement=seen.agreement if conditional and looking.kind == "classifier" else None,
        **(_diversity(seen, reference, config.seed) if conditional else {}),
        predicted_classes=tuple(seen.predicted.tolist()) if looking.kind == "classifier" else None,
    )


def _scores(
    config: EvaluateConfig, generated: Generated, one: _Set, seen: _Seen, reference: _Seen, split: scores.InceptionScore
) -> dict[str, Score]:
    """The scores whose names depend on the feature net, by name."""
    names = features.score_names(generated.looking.kind)
    subset = min(1000, len(seen.features), len(reference.features))
    kernel = scores.kernel_distance(seen.features, reference.features, subset_size=subset, seed=config.seed)
    infinity: frechet.Extrapolation | str
    try:
        infinity = frechet.frechet_infinity(seen.features, reference.statistics)
    except ValueError as error:
        infinity = f"not measured: {error}"
    of_class, of_class_bias = _of_class(seen, reference)
    bias = scores.score_bias_note(one.num, config.generation.score_splits, generated.classes)
    return {
        names.score: Score(**split._asdict(), bias=bias),
        names.frechet: Score(
            mean=frechet.frechet_distance(seen.statistics, reference.statistics),
            bias=frechet.bias_note(one.num),
            infinity=infinity,
            of_class=of_class,
            of_class_bias=of_class_bias,
        ),
        names.kernel: Score(**kernel._asdict(), subset_size=subset),
    }


def _selection(*nums: int) -> str:
    """How the images that are compared one by one were chosen, in words."""
    return "all" if max(nums) <= _KEPT else f"at random, by the seed, where there are more than {_KEPT}"


def _of_class(seen: _Seen, reference: _Seen) -> tuple[dict[str, float] | str | None, str | None]:
    """Frechet distances of all images of each class asked for, or why there are none, and their bias."""
    if seen.of_class is None or reference.of_class is None:
        return None, None
    asked, real = seen.of_class.counts, reference.of_class.counts
    few = [k for k, num in asked.items() if min(num, real.get(k, 0)) < 2]
    if few:
        return f"not measured: fewer than 2 samples or real images of the classes {few}", None
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        found = {str(k): frechet.frechet_distance(seen.of_class.of(k), reference.of_class.of(k)) for k in asked}
    return found, str(notes[0].message) if notes else None


def _diversity(seen: _Seen, reference: _Seen, seed: int) -> dict[str, float]:
    """Diversity within classes of the images kept, and of the real ones."""
    found: dict[str, float] = {}
    pairs = {"seed": tf.constant([seed, 10]), "num_pairs": _PAIRS}
    for name, one in (("", seen), ("_of_real_images", reference)):
        if np.unique(one.labels, return_counts=True)[1].min() >= 2:
            found[f"ssim_within_class{name}"] = diversity.within_class_ssim(one.images, one.labels, **pairs).mean
            found[f"feature_distance_within_class{name}"] = diversity.within_class_distance(
                one.features, one.labels, **pairs
            ).mean
    return found


def _nearest(
    config: EvaluateConfig, seen: _Seen, reference: _Seen, compared: Generated, figure: str
) -> NearestTrainingImages:
    """Whether samples are nearer to training images than held-out images are; and Fig. 7 of JEAT for a few."""
    real, held_out = compared.real, compared.held_out
    generated = seen.images[:_MEMORISED]
    found = NearestTrainingImages(generated=len(generated), training=len(real))
    if held_out is not None:
        chosen = np.random.default_rng(config.seed).permutation(len(held_out))[:_MEMORISED]
        copies = _memorisation(generated, real, held_out[chosen])
        found = dataclasses.replace(found, held_out=len(chosen), memorisation_l2=copies)
    shown = generated[: config.generation.neighbours]
    if not len(shown):
        return found
    known = len(reference.features)
    in_features = neighbours.nearest_l2(seen.features[: len(shown)], reference.features, k=5)
    by = {
        "l2": _nearest_l2(shown, real, k=5),
        "ssim": _nearest_ssim(shown, real),
        "features": in_features._replace(indices=reference.places[in_features.indices]),
    }
    among = {
        "l2": "all",
        "ssim": f"the {_CANDIDATES} nearest in l2" if len(real) > _KEPT else "all",
        "features": f"{known} at random" if known < len(real) else "all",
    }
    nearest: dict[str, Nearest] = {}
    for measure, near in by.items():
        used, places = np.unique(near.indices, return_inverse=True)
        places = places.reshape(near.indices.shape)
        pairs = figures.neighbours(shown, real[used], indices=places, distances=near.distances)
        pairs = pairs._replace(indices=near.indices)
        drawn = figures.draw_neighbours(pairs, measure=_MEASURES[measure])
        figures.save_figure(f"{figure}_{measure}", drawn, **pairs._asdict())
        distances = tuple(near.distances[:, 0].tolist())
        nearest[measure] = Nearest(among=among[measure], distances=distances)
    return dataclasses.replace(
        found, nearest_l2=nearest["l2"], nearest_ssim=nearest["ssim"], nearest_features=nearest["features"]
    )


def _memorisation(generated: np.ndarray, real: Pixels, held_out: np.ndarray) -> neighbours.Memorisation:
    """`neighbours.memorisation` of real images that are not all floats at once."""
    near = [_nearest_l2(queries, real, k=1).indices for queries in (generated, held_out)]
    # The nearest image of each is among these; two more, because it may be the same one for all.
    used = np.union1d(np.concatenate(near), [0, 1])
    return neighbours.memorisation(generated, real[used], held_out)


def _nearest_l2(queries: np.ndarray, real: Pixels, *, k: int) -> neighbours.Neighbours:
    """`neighbours.nearest_l2` of real images that are floats block by block."""
    parts = []
    for i in range(0, len(real), _KEPT):
        block = real[i : i + _KEPT]
        part = neighbours.nearest_l2(queries, block, k=min(k, len(block)))
        parts.append(part._replace(indices=part.indices + i))
    indices, distances = (np.concatenate(of_all, axis=1) for of_all in zip(*parts, strict=True))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return neighbours.Neighbours(
        np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1)
    )


def _nearest_ssim(shown: np.ndarray, real: Pixels) -> neighbours.Neighbours:
    if len(real) <= _KEPT:
        return neighbours.nearest_ssim(shown, real[:], k=5)
    candidates = _nearest_l2(shown, real, k=_CANDIDATES).indices
    parts = [neighbours.nearest_ssim(shown[[i]], real[near], k=5) for i, near in enumerate(candidates)]
    return neighbours.Neighbours(
        np.stack([near[part.indices[0]] for near, part in zip(candidates, parts, strict=True)]),
        np.concatenate([part.distances for part in parts]),
    )
