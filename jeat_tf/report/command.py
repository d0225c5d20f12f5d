"""What `python -m jeat_tf.report` does with its settings, and what it prints."""

import os

from jeat_tf.config.report import ReportConfig
from jeat_tf.report.run import report


def main(config: ReportConfig) -> None:
    """Writes the report, and says where."""
    found = report(config)
    for method in found["methods"]:
        runs = len(method["runs"])
        print(f"{method['name']}: {runs} run{'s' * (runs != 1)}, {len(method['values'])} numbers")
    for remark in found["remarks"]:
        print(f"note: {remark}")
    if config.tensorboard:
        print(f"rows for TensorBoard: {config.tensorboard}")
    print(f"written: {config.out}, .json, .md, .tex ({os.path.getsize(config.out) / 2**20:.1f} MiB)")
