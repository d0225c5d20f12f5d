"""`python -m jeat_tf.sample`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.sample import SampleConfig

if __name__ == "__main__":
    cli.run(SampleConfig, "jeat_tf.sample.command:main", name="jeat_tf.sample")
