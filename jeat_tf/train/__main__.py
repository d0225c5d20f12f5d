"""`python -m jeat_tf.train`, whose settings are read before TensorFlow is loaded."""

if __name__ == "__main__":
    from jeat_tf.core.failures import quiet_stops

    quiet_stops()  # before what takes its time to load

    from jeat_tf.config import cli
    from jeat_tf.config.train import TrainConfig

    cli.run(
        TrainConfig,
        "jeat_tf.train.command:main",
        name="jeat_tf.train",
        again="the same command resumes it",
        plan="jeat_tf.train.command:print_plan",
    )
