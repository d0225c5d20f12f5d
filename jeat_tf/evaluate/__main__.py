"""`python -m jeat_tf.evaluate`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.evaluate import EvaluateConfig

    cli.run(
        EvaluateConfig, "jeat_tf.evaluate.command:main", name="jeat_tf.evaluate", again="the same command resumes it"
    )
