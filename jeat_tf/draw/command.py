"""What `python -m jeat_tf.draw` does with its settings, and what it prints."""

import os

from jeat_tf.config.draw import DrawConfig
from jeat_tf.draw.run import draw, kinds


def main(config: DrawConfig) -> None:
    """Draws the figures, and says what was written."""
    drawings = draw(config)
    changes = {
        change for figure in drawings.figures.values() for net in figure.models.values() for change in net.changes
    }
    for change in sorted(changes):
        print(f"nets: {change}")
    for name, figure in drawings.figures.items():
        if figure.kind in kinds(config):
            print(f"{name}: {figure.shows}; {', '.join(figure.models)}")
    for kind, reason in drawings.not_drawn.items():
        print(f"not drawn: {kind}: {reason}")
    print(f"written: {os.path.join(config.output_dir, '*.png')}, *.npz, figures.json")
