"""Settings of `python -m jeat_tf.prepare`."""

from jeat_tf.config.shared import Data
from jeat_tf.core.values import Value, setting, value


@value
class PrepareConfig(Value):
    """Settings of `python -m jeat_tf.prepare`."""

    data: Data = setting(Data(), "data")
    output: str = setting("", "JSON file for the summary; empty: print only", identity=False)
    statistics: str = setting("", ".npz file for the Gaussians of the classes of train; empty: none", identity=False)
