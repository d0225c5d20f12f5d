"""What images and labels must look like; called where data enters, never inside a step."""

import numpy as np


def check_images(images: np.ndarray) -> None:
    """Raises ValueError unless images are finite floats [B, H, W, C] in [0, 1]."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"expected images of shape [B, H, W, C], received shape {list(images.shape)}")
    if not np.issubdtype(images.dtype, np.floating) and images.dtype.name != "bfloat16":
        raise ValueError(
            f"expected float images in [0, 1], received {images.dtype} with values up to {images.max()}; "
            "divide integer images by 255"
        )
    if not np.isfinite(images).all():
        raise ValueError("expected finite images, received NaN or infinity")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = (
            "divide by 255"
            if high > 2
            else "leave normalisation to a layer inside the net, for instance keras.layers.Rescaling"
        )
        raise ValueError(f"expected images in [0, 1], received values in [{low:g}, {high:g}]; {hint}")


def check_labels(labels: np.ndarray, num_classes: int | None = None, *, unlabelled: bool = False) -> None:
    """Raises ValueError unless labels are integers [B] in 0..num_classes - 1, or without num_classes of 0 and above.

    With `unlabelled` -1 is allowed too.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        hint = "; pass labels.argmax(-1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        raise ValueError(f"expected integer labels of shape [B], received shape {list(labels.shape)}{hint}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"expected integer labels, received {labels.dtype}")
    if labels.size and (
        labels.min() < (-1 if unlabelled else 0) or (num_classes is not None and labels.max() >= num_classes)
    ):
        wanted = "of 0 and above" if num_classes is None else f"in 0..{num_classes - 1}"
        reason = "" if num_classes is None else f", one for each of the net's {num_classes} logits"
        wanted += " or -1" if unlabelled else ""
        raise ValueError(f"expected labels {wanted}{reason}, received {labels.min()}..{labels.max()}")
