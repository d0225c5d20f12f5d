"""`python -m jeat_tf.convert`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.convert import ConvertConfig

    cli.run(ConvertConfig, "jeat_tf.convert.command:main", name="jeat_tf.convert")
