"""A trained net -> images."""

import os

from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.sample.run import sample

from .core import component
from .given import by_json
from .types import Examples, InputArtifact, Model, OutputArtifact, Parameter, Samples


@component(version="1")
def sample_export(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    samples: OutputArtifact[Samples],
    *,
    settings: Parameter[str] = "",
    seed: Parameter[int] = 0,
) -> None:
    """Draws images, or a shard of them, as `python -m jeat_tf.sample` does; resumes with the files that are there.

    Args:
      settings: of the verb as JSON; empty: its defaults.
      seed: of starts and chains.
    """
    config = by_json(SampleConfig, settings)
    data = os.path.join(examples.path, "tfds")
    report = sample(replace(config, dataset=data, data_dir="", model=model.path, seed=seed, output_dir=samples.path))
    samples.properties = {"num": report.num, "weights_sha256": report.weights_sha256}
    if config.shard:
        samples.properties["shard"] = config.shard
