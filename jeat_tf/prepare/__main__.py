"""`python -m jeat_tf.prepare`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.prepare import PrepareConfig

if __name__ == "__main__":
    cli.run(PrepareConfig, "jeat_tf.prepare.command:main", name="jeat_tf.prepare")
