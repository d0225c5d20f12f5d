"""`python -m jeat_tf.report`, whose settings are read before TensorFlow is loaded."""

from jeat_tf.config import cli
from jeat_tf.config.report import ReportConfig

if __name__ == "__main__":
    cli.run(ReportConfig, "jeat_tf.report.command:main", name="jeat_tf.report")
