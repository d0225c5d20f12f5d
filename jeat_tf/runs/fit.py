"""Whether a net fits a data set."""

import keras


def check_fit(net: keras.Model, name: str, image_shape: tuple[int, ...], num_classes: int | None) -> None:
    """Raises ValueError unless the net takes such images and has one logit for each class of the data set `name`."""
    expected = (None, *image_shape)
    fits = all(a is None or b is None or a == b for a, b in zip(net.input_shape, expected, strict=False))
    if len(net.input_shape) != 4 or len(image_shape) != 3 or not fits:
        raise ValueError(
            f"expected a net for images of shape {list(image_shape)} ({name}), received one for "
            f"{list(net.input_shape[1:])}" + _resize(net, image_shape)
        )
    if num_classes is not None and net.output_shape[-1] != num_classes:
        raise ValueError(
            f"expected a net with {num_classes} logits, the classes of {name}, received {net.output_shape[-1]}"
        )


def _resize(net: keras.Model, image_shape: tuple[int, ...]) -> str:
    """How to make the images fit, where another size or a repeated channel would do."""
    wanted = net.input_shape[1:]
    if len(wanted) != 3 or None in wanted[:2] or len(image_shape) != 3:
        return ""
    if wanted[2] not in (None, image_shape[2]):
        return f"; store images.repeat({wanted[2]}, axis=-1)" if image_shape[2] == 1 else ""
    return f"; --image_size={wanted[0]}x{wanted[1]} resizes the images"
