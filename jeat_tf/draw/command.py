"""What `python -m jeat_tf.draw` does with its settings, and what it prints."""

import os

from jeat_tf.config.draw import DrawConfig
from jeat_tf.draw.run import draw, kinds


def main(config: DrawConfig) -> None:
    """Draws the figures, and says what was written."""
    report = draw(config)
    changes = {
        change
        for record in report["figures"].values()
        for net in record["models"].values()
        for change in net.get("changes", ())
    }
    for change in sorted(changes):
        print(f"nets: {change}")
    for name, record in report["figures"].items():
        if record["kind"] in kinds(config):
            print(f"{name}: {record['shows']}; {', '.join(record['models'])}")
    for kind, reason in report["not_drawn"].items():
        print(f"not drawn: {kind}: {reason}")
    print(f"written: {os.path.join(config.output_dir, '*.png')}, *.npz, figures.json")
