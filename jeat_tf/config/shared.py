"""Settings that several verbs share."""

from jeat_tf.core.values import Value, setting, value


@value
class Data(Value):
    """Which images."""

    dataset: str = setting(
        "digits",
        "digits, any TFDS image classification name with its config, a folder of images (class/image.png or "
        "split/class/image.png), an .npz or .npy file, or a prepared TFDS folder",
    )
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default", identity=False)
    download: bool = setting(False, "fetch and prepare a data set that data_dir lacks", identity=False)
    image_size: str = setting("", "HxW that images are resized to, e.g. 32x32; empty: as they are")

    def _check(self) -> None:
        super()._check()
        size_of(self.image_size)


def size_of(text: str) -> tuple[int, int] | None:
    """(H, W) of "32x48"; None of an empty text.

    Raises:
      ValueError: anything else.
    """
    if not text:
        return None
    height, cross, width = text.lower().partition("x")
    if cross and height.isdecimal() and width.isdecimal() and int(height) and int(width):
        return int(height), int(width)
    raise ValueError(f'expected --image_size=HxW such as 32x32, received "{text}"')


JIT = ("auto", "true", "false")
JIT_HELP = "XLA; auto: on a GPU only"
