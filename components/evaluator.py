"""A trained net and its images -> accuracy, robustness, calibration, scores of generation."""

import os

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.density import asked, measure
from jeat_tf.evaluate.opened import open_evaluated
from jeat_tf.evaluate.robustness import evaluate

from .core import component
from .given import by_json
from .types import Evaluation, Examples, InputArtifact, Model, OutputArtifact, Parameter, Samples


@component(version="1")
def evaluator(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    evaluation: OutputArtifact[Evaluation],
    *,
    settings: Parameter[str],
    seed: Parameter[int] = 0,
    samples: InputArtifact[Samples] | None = None,
    judge: InputArtifact[Model] | None = None,
) -> None:
    """Measures a net, or attacks it on a shard of the images, as `python -m jeat_tf.evaluate` does.

    An interrupted measurement resumes where it was.

    Args:
      settings: of the verb as JSON.
      seed: of random starts and searches.
      samples: images that the net has drawn; they are measured.
      judge: a classifier whose features the measures look through, in place of --features.
    """
    evaluated(examples, model, evaluation, settings, seed, samples, judge)


def evaluated(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    evaluation: OutputArtifact[Evaluation],
    settings: str,
    seed: int,
    samples: InputArtifact[Samples] | None,
    judge: InputArtifact[Model] | None,
) -> None:
    """Runs the verb on artifacts, into the folder of `evaluation`; of a shard of the images, its attacks alone."""
    config = by_json(EvaluateConfig, settings)
    data = os.path.join(examples.path, "tfds")
    config = replace(config, dataset=data, data_dir="", model=model.path, seed=seed, output_dir=evaluation.path)
    if samples is not None:
        config = replace(config, generation=samples.path)
    if judge is not None:
        config = replace(config, features=os.path.join(judge.path, "net.keras"))
    read = open_evaluated(config)
    if asked(config) and not config.shard:
        measure(config, read)
    if config.attacks != "none":
        evaluate(config, read)
