"""What `python -m jeat_tf.sample` does with its settings, and what it prints."""

import os
from collections.abc import Iterator
from typing import Any

from jeat_tf.config.sample import SampleConfig
from jeat_tf.metrics.chain_diagnostics import Collapse
from jeat_tf.runs.trained import output_folder
from jeat_tf.sample.run import sample


def _warnings(diagnostics: dict[str, Any]) -> Iterator[str]:
    if not diagnostics["finite"] or diagnostics["chains_not_finite"]:
        yield (
            f"{diagnostics['chains_not_finite']} of {diagnostics['chains']} chains are not finite and count as not the "
            "class asked for; try a smaller step_size"
        )
    if diagnostics["collapse"] and diagnostics["collapse"]["alarm"]:
        least = min(diagnostics["collapse"][name] for name in Collapse._fields[:3])
        yield f"the images of a class have collapsed: their spread is {least:.2f} of that of training images"


def _words(graded: dict[str, Any]) -> str:
    distance = graded["frechet_classifier_distance"]
    return "unknown" if distance is None else f"{distance:.2f}"


def main(config: SampleConfig) -> None:
    report = sample(config)
    folder = output_folder(config.model, config.output_dir, "samples")
    if config.shard:
        print(f"shard {config.shard}: {report['drawn']} images in {report['seconds']:.0f} s; written: {folder}")
        return
    diagnostics = report["diagnostics"]
    asked = diagnostics["share_classified_as_asked_by_the_net_itself"]
    print(
        f"{report['num']} images in {report['seconds']:.0f} s"
        + (f"; {asked:.1%} are the class asked for to the net itself" if asked is not None else ", without classes")
    )
    for line in _warnings(diagnostics):
        print(f"warning: {line}")
    if "judge" in report:
        judged = report["judge"]
        print(
            f"judge: {judged['agreement']:.1%} are the class {'asked for' if asked is not None else 'the net sees'}; "
            f"Frechet classifier distance {_words(judged)} to {judged['reference']} "
            f"(where the chains began: {judged['start_alone']['agreement']:.1%}, {_words(judged['start_alone'])})"
        )
    print(f"written: {os.path.join(folder, 'grid.png')}, chain.gif, samples-*.{config.format}, samples.json")
