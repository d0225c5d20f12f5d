"""The settings of every verb: frozen dataclasses, the one typed truth.

Command-line flags are generated from the fields (`cli.py`), every run writes its resolved settings as JSON,
and `build.py` turns them into objects. Inside this package each module is imported by itself, so that the code of a
pipeline's step is that of its own settings alone.
"""

from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.fields import differences, from_json, leaves, replace, to_json
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.config.report import ReportConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig

__all__ = [
    "DrawConfig",
    "EvaluateConfig",
    "PrepareConfig",
    "ReportConfig",
    "SampleConfig",
    "TrainConfig",
    "differences",
    "from_json",
    "leaves",
    "replace",
    "to_json",
]
