"""`python -m jeat_tf.convert`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.convert import ConvertConfig

if __name__ == "__main__":
    cli.run(ConvertConfig, "jeat_tf.convert.command:main", name="jeat_tf.convert")
