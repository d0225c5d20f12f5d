"""Shards of samples -> the samples, as one run would have drawn them."""

import dataclasses
import os

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.runs.sample_results import SampleResults
from jeat_tf.runs.samples import merge
from jeat_tf.sample.run import sample

from .core import component
from .given import by_json
from .types import Examples, InputArtifact, InputArtifacts, Model, OutputArtifact, Parameter, Samples


@component(version="1")
def merge_samples(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    shards: InputArtifacts[Samples],
    samples: OutputArtifact[Samples],
    *,
    settings: Parameter[str] = "",
    seed: Parameter[int] = 0,
) -> None:
    """Copies the files of all shards together and looks at them as `sample_export` would have; draws nothing.

    The seconds in `samples.json` are the sums of those that the files of the shards took.

    Args:
      settings: as those of the shards, without shard.
      seed: as that of the shards.

    Raises:
      ValueError: a shard is missing, has not ended, is there twice, or is of other samples.
    """
    folders = shards.all()
    merge(folders, samples.path)
    config = by_json(SampleConfig, settings)
    data = os.path.join(examples.path, "tfds")
    report = sample(
        replace(
            config,
            dataset=data,
            data_dir="",
            model=model.path,
            seed=seed,
            output_dir=samples.path,
            shard="",
            resume=True,
        )
    )
    assert isinstance(report, SampleResults)  # of all images
    dataclasses.replace(report, shards=len(folders)).write(samples.path)
    samples.properties = {"num": report.num, "weights_sha256": report.weights_sha256}
