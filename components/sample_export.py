"""A trained net -> images."""

import os

from jeat_tf.config.flags import parsed
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.flat import replace
from jeat_tf.sample.run import sample

from .core import component
from .types import Examples, InputArtifact, Model, OutputArtifact, Parameter, Samples
from .words import flag_words


@component(version="1")
def sample_export(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    samples: OutputArtifact[Samples],
    *,
    flags: Parameter[str] = "",
    seed: Parameter[int] = 0,
) -> None:
    """Draws images, or a shard of them, as `python -m jeat_tf.sample` does; goes on with files that are there.

    Args:
      flags: of the verb, separated by blanks, e.g. "--num=50000 --preset=pca_momentum".
      seed: of starts and chains.
    """
    settings = parsed(SampleConfig, *flag_words(flags))
    data = os.path.join(examples.path, "tfds")
    report = sample(replace(settings, dataset=data, data_dir="", model=model.path, seed=seed, output_dir=samples.path))
    samples.properties = {"num": report.num, "weights_sha256": report.weights_sha256}
    if settings.shard:
        samples.properties["shard"] = settings.shard
