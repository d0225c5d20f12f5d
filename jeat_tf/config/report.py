"""Settings of `python -m jeat_tf.report`."""

import dataclasses

from jeat_tf.config.fields import setting


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Settings of `python -m jeat_tf.report`."""

    runs: str = setting("", "folder of training runs, at any depth", identity=False)
    out: str = setting("", "the page, NAME.html; NAME.json, .md and .tex are written beside it", identity=False)
