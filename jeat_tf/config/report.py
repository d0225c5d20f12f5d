"""Settings of `python -m jeat_tf.report`."""

from jeat_tf.core.values import Value, setting, value


@value
class ReportConfig(Value):
    """Settings of `python -m jeat_tf.report`."""

    runs: str = setting("", "folder of training runs, at any depth", identity=False)
    entries: str = setting(
        "",
        "folder of leaderboard entries in RobustBench's form, e.g. its model_info, to show beside our numbers",
        identity=False,
    )
    tensorboard: str = setting(
        "",
        "folder for a row of each run in TensorBoard's HParams table: its settings and what `evaluate` measured; "
        "empty: none",
        identity=False,
    )
    out: str = setting("", "the page, NAME.html; NAME.json, .md and .tex are written beside it", identity=False)
