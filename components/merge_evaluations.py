"""Shards of an evaluation -> the evaluation, as one run would have made it."""

import os

from jeat_tf.runs.verdict_parts import merge

from .core import component
from .evaluator import evaluated
from .types import (
    Evaluation,
    Examples,
    InputArtifact,
    InputArtifacts,
    Model,
    OutputArtifact,
    Parameter,
    Samples,
)


@component(version="1")
def merge_evaluations(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    shards: InputArtifacts[Evaluation],
    evaluation: OutputArtifact[Evaluation],
    *,
    settings: Parameter[str],
    seed: Parameter[int] = 0,
    samples: InputArtifact[Samples] | None = None,
    judge: InputArtifact[Model] | None = None,
) -> None:
    """Puts together what attacks on shards of the images found; measures beside attacks are made here, on all images.

    Args:
      settings: as those of the shards, without shard.
      seed: as that of the shards.
      samples: images that the net has drawn; they are measured.
      judge: a classifier whose features the measures look through, in place of --features.

    Raises:
      ValueError: a shard is missing, has not ended, is there twice, or is of another evaluation.
    """
    folders = shards.all()
    merge([os.path.join(folder, "state") for folder in folders], os.path.join(evaluation.path, "state"))
    evaluated(examples, model, evaluation, settings, seed, samples, judge)
