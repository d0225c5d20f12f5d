"""`python -m jeat_tf.train`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.train import TrainConfig

if __name__ == "__main__":
    cli.run(TrainConfig, "jeat_tf.train.command:main", name="jeat_tf.train", plan="jeat_tf.train.command:print_plan")
