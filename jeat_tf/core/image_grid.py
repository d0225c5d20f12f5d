"""Many images as one."""

import math

import numpy as np


def grid(images: np.ndarray, columns: int | None = None, *, scale: int = 1, padding: int = 1) -> np.ndarray:
    """uint8[H', W', C]: the images row by row, each pixel enlarged `scale` times, on a mid-grey ground.

    Args:
      images: float[N, H, W, C] in [0, 1]; values outside are clipped for showing.
      columns: images in a row; None makes the grid about square.
      scale: pixels for each pixel.
      padding: pixels between images.
    """
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tile = np.array([height * scale + padding, width * scale + padding])
    canvas = np.full((*(tile * [rows, columns] + padding), channels), 128, np.uint8)
    shown = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
    for i, image in enumerate(shown):
        top, left = tile * divmod(i, columns) + padding
        canvas[top : top + height * scale, left : left + width * scale] = image
    return canvas
