"""What an independent classifier says of samples, of where their chains began, and of real images."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from jeat_tf.metrics import features
from jeat_tf.metrics.frechet import frechet_distance
from jeat_tf.metrics.looks import looks
from jeat_tf.metrics.scores import PrecisionRecall, precision_recall
from jeat_tf.metrics.through import Seen, Through
from jeat_tf.runs.sample_results import Judgement, Rating
from jeat_tf.runs.samples import SampleFolder, Shard, in_blocks
from jeat_tf.runs.second_nets import Opened
from jeat_tf.sample.diagnostics import COMPARED, first_of

_AMONG = 10_000  # real images among which near copies are looked for
_NEIGHBOURS = 3  # of precision and recall


def judged(
    opened: Opened,
    samples: SampleFolder,
    starts: Iterable[Shard],
    data: Shard,
    test: Shard | None,
    *,
    seed: int,
) -> Judgement:
    """A judge's rating of all samples, of where their chains began, and of real test images.

    Args:
      opened: the judge.
      samples: the images.
      starts: where all chains began.
      data: training images, the reference.
      test: images that no net was trained on, of which at most as many as samples are rated; None without.
      seed: of the choice among these.
    """
    judge, known = opened
    looking = features.classifier(judge)
    looked_at = Through(looking, judge.output_shape[-1], seed=seed)
    for block in in_blocks(*data):
        looked_at.update(*block)
    reference = looked_at.seen()

    def rated(shards: Iterable[Shard]) -> Rating:
        return _rated(Through(looking, judge.output_shape[-1], seed=seed), shards, data, reference)

    real = None
    if test is not None:
        few = np.random.default_rng(seed).permutation(len(test.labels))[: samples.identity().num]
        of_real = rated(in_blocks(test.images[few], test.labels[few]))
        real = dataclasses.replace(of_real, images=f"{len(few)} test images")
    return Judgement(
        **vars(rated(samples.shards())),
        net=known.model,
        weights_sha256=known.weights_sha256,
        changes=known.changes,
        accuracy=known.accuracy,
        accuracy_images=known.images,
        reference=f"{len(data.labels)} training images",
        start_alone=rated(starts),
        real_images=real,
    )


def _rated(looked_at: Through, shards: Iterable[Shard], data: Shard, reference: Seen) -> Rating:
    """The rating of one set of images; distances are None where an image is not finite."""
    asked, num, finite = np.zeros_like(looked_at.agreed), 0, True

    def shown() -> Iterator[Shard]:
        nonlocal asked, num, finite
        for images, labels in shards:
            whole = np.isfinite(images).all(axis=(1, 2, 3))
            if whole.any():
                looked_at.update(np.clip(images[whole], 0, 1), labels[whole])
            asked += np.bincount(labels[labels >= 0], minlength=len(asked))
            num, finite = num + len(labels), finite and bool(whole.all())
            yield Shard(images, labels)

    passing = shown()
    first = first_of(passing, COMPARED)
    for _ in passing:
        pass
    distance: float | None = None
    near: PrecisionRecall | None = None
    if finite:  # without the chains that diverged, these would be scores of a selection
        seen = looked_at.seen()
        distance = frechet_distance(seen.statistics, reference.statistics)
        if min(len(seen.features), len(reference.features)) > _NEIGHBOURS:
            near = precision_recall(seen.features, reference.features, k=_NEIGHBOURS)
    look = looks(first.images[:COMPARED], first.labels[:COMPARED], data.images[:_AMONG], data.labels[:_AMONG])
    of_class = zip(looked_at.agreed.tolist(), asked.tolist(), strict=True)
    return Rating(
        agreement=int(looked_at.agreed.sum()) / num,
        agreement_of_each_class=tuple(right / total if total else None for right, total in of_class),
        share_of_each_class=tuple((looked_at.predicted / num).tolist()),
        frechet_classifier_distance=distance,
        precision=near and near.precision,
        recall=near and near.recall,
        saturated=look and look.saturated,
        copies_of_each_other=look and look.copies_of_each_other,
        copies_of_real=look and look.copies_of_real,
    )
