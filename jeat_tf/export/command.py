"""What `python -m jeat_tf.export` does with its settings, and what it prints."""

from jeat_tf.config.export import ExportConfig
from jeat_tf.export.run import export


def main(config: ExportConfig) -> None:
    """Exports the net, and says what each format holds and leaves out."""
    for exported in export(config):
        print(f"{exported.format}: {exported.path}, with {', '.join(exported.holds)}")
        for left_out, why in exported.left_out.items():
            print(f"  left out: {left_out}, because {why}")
        print(f"  read back: logits differ by at most {exported.difference:.1e}")
