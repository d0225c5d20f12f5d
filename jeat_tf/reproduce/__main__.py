"""`python -m jeat_tf.reproduce`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.reproduce.rows import ReproduceConfig

    cli.run(
        ReproduceConfig,
        "jeat_tf.reproduce.command:main",
        name="jeat_tf.reproduce",
        again="the same command resumes it",
        plan="jeat_tf.reproduce.command:print_plan",
    )
