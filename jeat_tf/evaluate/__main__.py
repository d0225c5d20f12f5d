"""`python -m jeat_tf.evaluate`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.evaluate import EvaluateConfig

if __name__ == "__main__":
    cli.run(EvaluateConfig, "jeat_tf.evaluate.command:main", name="jeat_tf.evaluate")
