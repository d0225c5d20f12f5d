"""Generated images, measured: scores with their protocol, diversity, and what was copied from the training images."""

import os
import warnings
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.evaluate.copies import nearest_training_images
from jeat_tf.evaluate.image_sets import Generated, ImageSet
from jeat_tf.metrics import diversity, features, frechet, scores, through
from jeat_tf.metrics.through import Seen, Through
from jeat_tf.runs.generation_results import Compared, ImageScores, Score
from jeat_tf.runs.samples import Shard, in_blocks

_PAIRS = 100  # of images of a class, for its diversity


def measure_generation(config: EvaluateConfig, generated: Generated, folder: str) -> dict[str, ImageScores]:
    """Scores of the stored samples, and of the run's replay buffer if it has one; writes figures to `folder`."""
    conditional = any(one.conditional for one in generated.sets.values())
    looked_at = Through(generated.looking, generated.classes, seed=config.seed, conditional=conditional)
    _show(looked_at, in_blocks(generated.real, generated.labels), len(generated.real), "real")
    reference = looked_at.seen()
    return {
        name: _measured(config, generated, one, reference, os.path.join(folder, f"{name}_neighbours"))
        for name, one in generated.sets.items()
    }


def _show(looked_at: Through, shards: Iterable[Shard], num: int, what: str) -> None:
    with tqdm(total=num, desc=f"features, {what}", unit="image", disable=None) as bar:
        for shard in shards:
            looked_at.update(*shard)
            bar.update(len(shard.labels))


def _measured(config: EvaluateConfig, generated: Generated, one: ImageSet, reference: Seen, figure: str) -> ImageScores:
    looking, num, conditional = generated.looking, one.protocol.n, one.conditional
    score = scores.SplitScore(num, generated.classes, config.generation.score_splits)
    looked_at = Through(looking, generated.classes, seed=config.seed, conditional=conditional, score=score)
    _show(looked_at, one.shards(), num, one.protocol.samples)
    seen = looked_at.seen()
    kept, known = len(seen.features), len(reference.features)
    judged = looking.kind == "classifier"
    return ImageScores(
        scores=_scores(config, generated, one, seen, reference, score.result()),
        **scores.precision_recall(seen.features, reference.features)._asdict(),
        **scores.density_coverage(seen.features, reference.features)._asdict(),
        compared=Compared(images=kept, reference=known, selection=_selection(num, len(generated.real))),
        nearest_training_images=nearest_training_images(config, seen, reference, generated, figure),
        protocol=one.protocol,
        agreement=int(looked_at.agreed.sum()) / num if conditional and judged else None,
        **(_diversity(seen, reference, config.seed) if conditional else {}),
        predicted_classes=tuple(looked_at.predicted.tolist()) if judged else None,
    )


def _scores(
    config: EvaluateConfig,
    generated: Generated,
    one: ImageSet,
    seen: Seen,
    reference: Seen,
    split: scores.InceptionScore,
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
    bias = scores.score_bias_note(one.protocol.n, config.generation.score_splits, generated.classes)
    return {
        names.score: Score(**split._asdict(), bias=bias),
        names.frechet: Score(
            mean=frechet.frechet_distance(seen.statistics, reference.statistics),
            bias=frechet.bias_note(one.protocol.n),
            infinity=infinity,
            of_class=of_class,
            of_class_bias=of_class_bias,
        ),
        names.kernel: Score(**kernel._asdict(), subset_size=subset),
    }


def _selection(*nums: int) -> str:
    """Description of how the images that are compared one by one were chosen."""
    return "all" if max(nums) <= through.KEPT else f"at random, by the seed, where there are more than {through.KEPT}"


def _of_class(seen: Seen, reference: Seen) -> tuple[dict[str, float] | str | None, str | None]:
    """Frechet distances of all images of each requested class, or why there are none, and their bias."""
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


def _diversity(seen: Seen, reference: Seen, seed: int) -> dict[str, float]:
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
