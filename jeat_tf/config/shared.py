"""Settings that several verbs share."""

from jeat_tf.core.values import Value, setting, value


@value
class Data(Value):
    """Which images."""

    dataset: str = setting(
        "digits",
        "digits, any TFDS image classification name, a prepared TFDS folder; to evaluate on, also an .npz file",
    )
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default", identity=False)
    download: bool = setting(False, "fetch and prepare a data set that data_dir lacks", identity=False)


JIT = {"auto": None, "true": True, "false": False}
JIT_HELP = "XLA; auto: on a GPU only"
