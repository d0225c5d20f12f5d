from .draw import DrawConfig
from .evaluate import EvaluateConfig
from .fields import differences, from_json, leaves, replace, to_json
from .prepare import PrepareConfig
from .report import ReportConfig
from .sample import SampleConfig
from .train import TrainConfig

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
