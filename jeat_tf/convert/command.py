"""What `python -m jeat_tf.convert` does with its settings, and what it prints."""

from jeat_tf.config.convert import ConvertConfig
from jeat_tf.convert.run import convert


def main(config: ConvertConfig) -> None:
    """Converts the weights, and says to what."""
    converted = convert(config)
    net, (mean, std) = converted.net, converted.normalization
    print(f"layout: {converted.layout}, {net.count_params():,} weights")
    print(f"images: {list(net.input_shape[1:])} in [0, 1]; the net subtracts {mean} and divides by {std}")
    if converted.ignored:
        print(f"ignored, because the net does not use them for its logits: {len(converted.ignored)} arrays")
    if converted.difference is None:
        print("warning: no logits to check the net with; docs/convert.md says how to store some")
    else:
        print(f"largest difference from the stored logits: {converted.difference:.1e}")
    print(f"written: {config.output}")
