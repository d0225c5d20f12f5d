"""Examples -> a trained net."""

import os

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.train.run import train

from .core import component
from .types import Examples, InputArtifact, Model, OutputArtifact, Parameter
from .words import flag_words


@component(version="1")
def trainer(
    examples: InputArtifact[Examples],
    model: OutputArtifact[Model],
    *,
    flags: Parameter[str],
    seed: Parameter[int] = 0,
) -> None:
    """Trains a net, as `python -m jeat_tf.train` does; goes on with a run that was stopped.

    Args:
      flags: of the verb, separated by blanks, e.g. "--method=jeat --epochs=42".
      seed: of the run.
    """
    settings = parsed(TrainConfig, *flag_words(flags))
    data = os.path.join(examples.path, "tfds")
    result = train(replace(settings, dataset=data, data_dir="", seed=seed, model_dir=model.path))
    model.properties = {"weights_sha256": result.weights_sha256, "method": settings.method.word, "seed": seed}
