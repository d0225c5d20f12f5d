"""Settings of `python -m jeat_tf.draw`."""

from jeat_tf.config.shared import Data
from jeat_tf.core.values import Value, setting, value
from jeat_tf.models.origin import Origin
from jeat_tf.samplers.starts import STARTS


@value
class DrawConfig(Value):
    """Settings of `python -m jeat_tf.draw`."""

    data: Data = setting(Data(dataset=""), "data")
    origin: Origin = setting(Origin(), "origin of all nets")
    models: str = setting(
        "", "nets, comma-separated: name=path, or a path, which is named by its folder; runs or .keras files"
    )
    figures: str = setting(
        "",
        "comma-separated: changes, curves, contours, neighbours, grids, equations, gradients; empty: all that can be "
        "drawn",
    )
    classes: str = setting("", "classes shown, e.g. 3,5; empty: the first ten")
    num_images: int = setting(10, "generated images of each class")
    split: str = setting("test", "contours: TFDS split of the image")
    image: int = setting(0, "contours: place of the image in the split, from 0")
    radius: float = setting(3.0, "contours: l2 distance in pixels from the image to the ends of both axes")
    points: int = setting(41, "contours: points on each axis, odd")
    chain_steps: int = setting(200, "equations, gradients: steps of the chains")
    start: str = setting("class_gaussian", "equations: where the chains begin", choices=tuple(STARTS))
    seed: int = setting(0, "of directions, starts and chains")
    output_dir: str = setting("", "folder for the figures", identity=False)
