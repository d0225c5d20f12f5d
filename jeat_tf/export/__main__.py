"""`python -m jeat_tf.export`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.export import ExportConfig

    cli.run(ExportConfig, "jeat_tf.export.command:main", name="jeat_tf.export")
