"""What `python -m jeat_tf.sample` does with its settings, and what it prints."""

import os
from collections.abc import Iterator

from jeat_tf.config.sample import SampleConfig
from jeat_tf.runs.sample_results import FILE, Rating, SampledShard, SampleResults
from jeat_tf.runs.trained import output_folder
from jeat_tf.sample.run import sample


def _warnings(report: SampleResults) -> Iterator[str]:
    found, judge, tuning = report.diagnostics, report.judge, report.tuning
    if not found.finite or found.chains_not_finite:
        yield (
            f"{found.chains_not_finite} of {found.chains} chains are not finite and count as failures; "
            "try a smaller step_size"
        )
    if found.looks:
        yield from found.looks.warnings()
    if found.collapse and found.collapse.alarm:
        least = min(found.collapse[:3])
        yield f"the images of a class have collapsed: their spread is {least:.2f} of that of training images"
    if judge and tuning and judge.weights_sha256 == tuning.features_sha256:
        yield "the judge is the net that the chain was tuned to please; take another one as --tune_features"
    if judge:
        start, end = judge.start_alone.frechet_classifier_distance, judge.frechet_classifier_distance
        if start is not None and end is not None and end > start:
            yield (
                f"to the judge the start alone is nearer to the data ({start:.2f}) than where the chains end "
                f"({end:.2f}): the images owe their quality to the start"
            )


def _words(rated: Rating) -> str:
    distance = rated.frechet_classifier_distance
    return f"{rated.agreement:.1%} are the class; distance " + ("unknown" if distance is None else f"{distance:.2f}")


def main(config: SampleConfig) -> None:
    """Draws the images, and says what was written and what is wrong with them."""
    report = sample(config)
    folder = output_folder(config.model, config.output_dir, "samples")
    if isinstance(report, SampledShard):
        print(f"shard {report.shard}: {report.drawn} images in {report.seconds:.0f} s; written: {folder}")
        return
    for change in report.changes:
        print(f"net: {change}")
    without = ", without classes" if report.protocol.classes == "none" else ""
    print(f"{report.num} images in {report.seconds:.0f} s{without}; drawn {report.protocol.rule or 'as asked'}")
    for line in _warnings(report):
        print(f"warning: {line}")
    if judge := report.judge:
        which = "that the net sees" if without else "asked for"
        print(f"judge (class {which}; Frechet classifier distance to {judge.reference}):")
        print(f"  real test images: {_words(judge.real_images)}" if judge.real_images else "  no test images")
        print(f"  start alone: {_words(judge.start_alone)}")
        print(f"  samples: {_words(judge)}")
    print(f"written: {os.path.join(folder, 'grid.png')}, chain.gif, samples-*.{config.format}, {FILE}")
