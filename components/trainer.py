"""Examples -> a trained net."""

import os

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.train.run import train

from .core import component
from .given import by_json
from .types import Examples, InputArtifact, Model, OutputArtifact, Parameter


@component(version="1")
def trainer(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    *,
    settings: Parameter[str],
    seed: Parameter[int] = 0,
) -> None:
    """Trains a net, as `python -m jeat_tf.train` does; resumes a run that was stopped.

    Args:
      settings: of the verb as JSON, as `config.json` of a run holds them.
      seed: of the run.
    """
    config = by_json(TrainConfig, settings)
    data = os.path.join(examples.path, "tfds")
    result = train(replace(config, dataset=data, data_dir="", seed=seed, model_dir=model.path))
    model.properties = {"weights_sha256": result.weights_sha256, "method": config.method.word, "seed": seed}
