"""The one gate for images and labels: what enters is checked and cast here, never inside a step."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

FLOATS = ("float16", "bfloat16", "float32", "float64")
_MOST_CLASSES = 10**6  # labels above are no numbers of classes, and not all of them fit into int32


def admit(
    images: Any,
    labels: Any,
    num_classes: int | None = None,
    *,
    image_shape: tuple[int, ...] | None = None,
    unlabelled: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Images float32[B, H, W, C] in [0, 1] and labels int32[B], from what a caller gives.

    Args:
      images: of any float type, in [0, 1].
      labels: of any integer type, [B] or [B, 1].
      num_classes: K of the net; None where any class may come.
      image_shape: (H, W, C) of the net; None where any size may come.
      unlabelled: labels may be -1.

    Raises:
      ValueError: what `admit_images` and `admit_labels` refuse, or not one label for each image.
    """
    images = admit_images(images, image_shape=image_shape)
    labels = admit_labels(labels, num_classes, unlabelled=unlabelled)
    if len(images) != len(labels):
        raise ValueError(f"expected a label for each of {len(images)} images, received {len(labels)}")
    return images, labels


def admit_images(images: Any, *, image_shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """Images float32[B, H, W, C] in [0, 1], from floats of any precision.

    Args:
      images: array, tensor or list.
      image_shape: (H, W, C) of the net, None where a size is free; None where any size may come.

    Raises:
      ValueError: another shape, no images, integers, NaN or infinity, or values outside [0, 1].
    """
    images = _array(images, "images")
    check_images(images)
    if image_shape is not None:
        check_shape(images.shape[1:], image_shape)
    return images.astype(np.float32, copy=False)


def admit_labels(labels: Any, num_classes: int | None = None, *, unlabelled: bool = False) -> np.ndarray:
    """Labels int32[B], from integers of any type; [B, 1], as Keras' data sets have them, is squeezed with a warning.

    Raises:
      ValueError: another shape, such as one-hot labels, no integers, or labels that are not classes.
    """
    labels = _array(labels, "labels")
    if labels.ndim == 2 and labels.shape[1] == 1 and num_classes != 1:
        warnings.warn(
            f"labels of shape {list(labels.shape)} are read as [{len(labels)}]; pass labels[:, 0] to avoid this "
            "warning",
            stacklevel=3,
        )
        labels = labels[:, 0]
    check_labels(labels, num_classes, unlabelled=unlabelled)
    return labels.astype(np.int32, copy=False)


def check_images(images: np.ndarray) -> None:
    """Raises ValueError unless images are finite floats [B, H, W, C] in [0, 1]."""
    images = np.asarray(images)
    if images.ndim != 4:
        remedy = {
            0: "; pass an array of images",
            2: "; add the missing axes",
            3: "; pass images[..., None] for grey images, images[None] for one",
        }
        raise ValueError(
            f"expected images of shape [B, H, W, C], received shape {list(images.shape)}{remedy.get(images.ndim, '')}"
        )
    if not images.size:
        raise ValueError(f"expected at least 1 image, received none: an array of shape {list(images.shape)}")
    if images.dtype.name not in FLOATS:
        whole = np.issubdtype(images.dtype, np.integer)
        raise ValueError(
            f"expected float images in [0, 1], received {images.dtype}"
            + (
                f" with values up to {images.max()}; divide integer images by {_white(images.max())}"
                if whole
                else "; cast them to float32"
            )
        )
    if not np.isfinite(images).all():
        raise ValueError("expected finite images, received NaN or infinity")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = (
            f"divide by {_white(high)}"
            if high > 2 and low >= 0
            else "leave normalisation to a layer inside the net, for instance keras.layers.Rescaling"
        )
        raise ValueError(f"expected images in [0, 1], received values in [{low:g}, {high:g}]; {hint}")


def check_shape(received: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    """Raises ValueError unless images (H, W, C) are of the net's shape, in which None is any size."""
    if len(received) == len(expected) and _fits(received, expected):
        return
    raise ValueError(
        f"expected images of shape {list(expected)}, as the net takes, received {list(received)}"
        f"{_of_shape(received, expected) if len(received) == len(expected) == 3 else ''}"
    )


def check_taken(net: Any, images: np.ndarray) -> None:
    """Raises ValueError unless a net takes images of this shape; a net without a known input shape passes."""
    shape = getattr(net, "input_shape", None)
    if isinstance(shape, (list, tuple)) and shape and all(isinstance(side, (list, tuple)) for side in shape):
        if len(shape) > 1:
            raise ValueError(f"expected a net with one input, images, received {len(shape)}; make one input of them")
        shape = shape[0]
    if not isinstance(shape, tuple):
        return
    if len(shape) == 3 and images.shape[-1] == 1:  # Keras leaves out the one channel
        shape = (*shape, 1)
    if len(shape) != 4:
        raise ValueError(
            f"expected a net of images [B, H, W, C], received one of input shape {shape}; begin it with a "
            "keras.Input of images and a layer that reshapes them"
        )
    check_shape(images.shape[1:], shape[1:])


def check_labels(labels: np.ndarray, num_classes: int | None = None, *, unlabelled: bool = False) -> None:
    """Raises ValueError unless labels are integers [B] in 0..num_classes - 1; without num_classes, 0 and above.

    With `unlabelled` -1 is allowed too.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        hint = "; pass labels.argmax(-1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        hint = "; pass a list of them" if not labels.ndim else hint
        raise ValueError(f"expected integer labels of shape [B], received shape {list(labels.shape)}{hint}")
    if not np.issubdtype(labels.dtype, np.integer):
        if not labels.size:
            raise ValueError("expected at least 1 label, received none")
        hint = "; pass labels.astype(int)" if _whole(labels) else ""
        if labels.dtype.kind in "OSUT":
            hint = "; number the classes from 0: np.unique(labels, return_inverse=True)[1]"
        raise ValueError(f"expected integer labels, received {labels.dtype}{hint}")
    least, most = (-1 if unlabelled else 0), (_MOST_CLASSES if num_classes is None else num_classes) - 1
    if labels.size and not least <= labels.min() <= labels.max() <= most:
        low, high = labels.min(), labels.max()
        wanted = f"in 0..{most}" if num_classes is not None or high > most else "of 0 and above"
        reason = "" if num_classes is None else f", one for each of the net's {num_classes} logits"
        wanted += " or -1" if unlabelled else ""
        hint = "; labels count from 0: pass labels - 1" if low == 1 and high == num_classes else ""
        hint = "; leave out images without a label" if low == -1 and high <= most else hint
        raise ValueError(f"expected labels {wanted}{reason}, received {low}..{high}{hint}")


def check_batch_size(given: Any) -> None:
    """Raises ValueError unless a batch size is a whole number of at least 1, or None."""
    if given is not None and (not isinstance(given, (int, np.integer)) or given < 1):
        raise ValueError(f"expected batch_size, a whole number of at least 1, received {given!r}")


def all_at_once(*checks: Callable[[], object]) -> None:
    """Raises one ValueError with the messages of all checks that fail, so that a user sees them together."""
    refused = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            refused.append(str(error))
    if refused:
        raise ValueError("; ".join(dict.fromkeys(refused)))


def _of_shape(received: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    """What to do about images of another shape (H, W, C); "" where nothing is plain."""
    if _fits((*received[1:], received[0]), expected):
        return "; channels go last: pass np.moveaxis(images, 1, -1)"
    if _fits((received[-1], *received[:-1]), expected):
        return "; the net takes channels first: pass np.moveaxis(images, -1, 1)"
    if not _fits(received[:2], expected[:2]):
        return "; resize them, or take a net of their size"
    if received[-1] == 1:
        return f"; pass images.repeat({expected[-1]}, axis=-1)"
    if (received[-1], expected[-1]) == (4, 3):
        return "; pass images[..., :3], without their transparency"
    return ""


def _fits(received: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return all(e in (None, r) for r, e in zip(received, expected, strict=True))


def _white(high: float) -> int:
    """The value of white in images whose largest value this is."""
    return 255 if high <= 255 else 65535


def _whole(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "fb" and bool(np.isfinite(labels).all() and (labels == np.asarray(labels, int)).all())


def _array(values: Any, what: str) -> np.ndarray:
    if isinstance(values, dict):
        raise ValueError(
            f"expected {what} as an array, received a dict with keys {', '.join(map(str, values))}; pass one of them"
        )
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"expected {what} without a mask, received a masked array; leave out what it hides")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"expected {what} as one array, received what does not make one: {error}") from error
    kind = type(values).__name__
    if array.dtype == object and (not array.ndim or "Ragged" in kind):
        hint = {"Ragged": "; pass it as .to_tensor()", "Sparse": "; pass it as tf.sparse.to_dense(...)"}
        remedy = next((hint[word] for word in hint if word in kind), "")
        raise ValueError(f"expected {what} as one array, received {kind}{remedy}")
    return array


def check_memory(size: int, what: str, remedy: str) -> None:
    """Raises ValueError where something is larger than all memory of this machine, before it is allocated.

    Args:
      size: bytes.
      what: noun for the message, e.g. "a replay buffer of 10,000 images".
      remedy: what to take instead, e.g. "a smaller --buffer_size".
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        return
    if size > memory:
        raise ValueError(
            f"expected {what} to fit into the {memory / 2**30:,.1f} GiB of memory of this machine, it takes "
            f"{size / 2**30:,.1f} GiB; take {remedy}"
        )
