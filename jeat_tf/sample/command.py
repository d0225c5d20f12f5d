"""What `python -m jeat_tf.sample` does with its settings, and what it prints."""

import os
from collections.abc import Iterator
from typing import Any

from jeat_tf.config.sample import SampleConfig
from jeat_tf.metrics.chain_diagnostics import Collapse
from jeat_tf.metrics.looks import Looks
from jeat_tf.runs.trained import output_folder
from jeat_tf.sample.run import sample


def _warnings(report: dict[str, Any]) -> Iterator[str]:
    diagnostics = report["diagnostics"]
    if not diagnostics["finite"] or diagnostics["chains_not_finite"]:
        yield (
            f"{diagnostics['chains_not_finite']} of {diagnostics['chains']} chains are not finite and count as not the "
            "class asked for; try a smaller step_size"
        )
    if diagnostics["looks"]:
        yield from Looks(**diagnostics["looks"]).warnings()
    if diagnostics["collapse"] and diagnostics["collapse"]["alarm"]:
        least = min(diagnostics["collapse"][name] for name in Collapse._fields[:3])
        yield f"the images of a class have collapsed: their spread is {least:.2f} of that of training images"
    judge, tuning = report.get("judge"), report.get("tuning")
    if judge and tuning and judge["weights_sha256"] == tuning["features_sha256"]:
        yield "the judge is the net that the chain was tuned to please; take another one as --tune_features"
    if judge:
        ends = [rated["frechet_classifier_distance"] for rated in (judge, judge["start_alone"])]
        if None not in ends and ends[0] > ends[1]:
            yield (
                f"to the judge the start alone is nearer to the data ({ends[1]:.2f}) than where the chains end "
                f"({ends[0]:.2f}): the images owe their quality to the start"
            )


def _words(rated: dict[str, Any]) -> str:
    distance = rated["frechet_classifier_distance"]
    return f"{rated['agreement']:.1%} are the class; distance " + ("unknown" if distance is None else f"{distance:.2f}")


def main(config: SampleConfig) -> None:
    """Draws the images, and says what was measured and what looks wrong."""
    report = sample(config)
    folder = output_folder(config.model, config.output_dir, "samples")
    if config.shard:
        print(f"shard {config.shard}: {report['drawn']} images in {report['seconds']:.0f} s; written: {folder}")
        return
    for change in report["changes"]:
        print(f"net: {change}")
    protocol = report["protocol"]
    without = ", without classes" if protocol["classes"] == "none" else ""
    print(f"{report['num']} images in {report['seconds']:.0f} s{without}; drawn {protocol['rule'] or 'as asked'}")
    for line in _warnings(report):
        print(f"warning: {line}")
    if "judge" in report:
        judge = report["judge"]
        which = "that the net sees" if without else "asked for"
        print(f"judge (class {which}; Frechet classifier distance to {judge['reference']}):")
        print(f"  real test images: {_words(judge['real_images'])}" if "real_images" in judge else "  no test images")
        print(f"  start alone: {_words(judge['start_alone'])}")
        print(f"  samples: {_words(judge)}")
    print(f"written: {os.path.join(folder, 'grid.png')}, chain.gif, samples-*.{config.format}, samples.json")
