"""`python -m jeat_tf.draw`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.draw import DrawConfig

if __name__ == "__main__":
    cli.run(DrawConfig, "jeat_tf.draw.command:main", name="jeat_tf.draw")
