"""`python -m jeat_tf.draw`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.draw import DrawConfig

    cli.run(DrawConfig, "jeat_tf.draw.command:main", name="jeat_tf.draw")
