"""`python -m jeat_tf.sample`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.sample import SampleConfig

    cli.run(
        SampleConfig,
        "jeat_tf.sample.command:main",
        name="jeat_tf.sample",
        again="the same command resumes it",
    )
