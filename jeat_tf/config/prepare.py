"""Settings of `python -m jeat_tf.prepare`."""

import dataclasses

from jeat_tf.config.fields import setting
from jeat_tf.config.shared import Data


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """Settings of `python -m jeat_tf.prepare`."""

    data: Data = Data()
    output: str = setting("", "JSON file for the summary; empty: print only", identity=False)
    statistics: str = setting("", ".npz file for the Gaussians of the classes of train; empty: none", identity=False)
