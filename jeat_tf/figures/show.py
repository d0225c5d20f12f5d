"""Images as one labelled picture."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GROUND, _INK = 255, 40
_SMALLEST = 9  # points of a caption


def show(
    images: Any, labels: Any = None, *, columns: int | None = None, names: Sequence[str] | None = None, width: int = 600
) -> Image.Image:
    """One labelled picture of many images; a notebook shows it, `.save("samples.png")` writes it.

    Pixels are enlarged by a whole number, so that the picture is about `width` pixels wide. Where a row has one class,
    the label is at its left. Otherwise each image has its own below it.

    Args:
      images: float[N, H, W, C] in [0, 1], or float[H, W, C]; values outside are clipped.
      labels: int[N], or None for no labels.
      columns: images in a row; None makes the picture about square.
      names: names of the classes; None shows their numbers.
      width: pixels of the picture's width, about.

    Returns:
      image: PIL.Image.Image in mode L or RGB.

    Raises:
      ValueError: images of another shape, no images, or another number of labels.
    """
    shown = np.asarray(images, np.float32)
    shown = shown[None] if shown.ndim == 3 else shown
    if shown.ndim != 4 or not len(shown) or shown.shape[-1] not in (1, 3):
        raise ValueError(f"expected images of shape [N, H, W, 1 or 3] with N > 0, received {list(shown.shape)}")
    count, height, pixels, channels = shown.shape
    numbers = None if labels is None else np.asarray(labels).reshape(-1)
    if numbers is not None and len(numbers) != count:
        raise ValueError(f"expected a label for each of {count} images, received {len(numbers)}")
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    scale = max(1, round(width / columns / pixels))
    gap = max(2, scale // 2)
    points = max(11, min(20, pixels * scale // 3))
    font = ImageFont.load_default(size=points)
    words = None if numbers is None else ["?" if n < 0 else names[n] if names else str(n) for n in numbers]
    in_rows = words is not None and all(
        len(set(words[row * columns : (row + 1) * columns])) == 1 for row in range(rows)
    )
    line = round(1.4 * points) if words is not None and not in_rows else 0
    left = round(max(font.getlength(word) for word in words) + points) if words is not None and in_rows else 0
    tile = np.array([height * scale + gap + line, pixels * scale + gap])
    size = (left + int(tile[1]) * columns + gap, int(tile[0]) * rows + gap)
    canvas = Image.new("L" if channels == 1 else "RGB", size, _GROUND if channels == 1 else (_GROUND,) * 3)
    draw, ink = ImageDraw.Draw(canvas), _INK if channels == 1 else (_INK,) * 3
    bytes_ = np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
    for i, picture in enumerate(bytes_):
        row, column = divmod(i, columns)
        top, start = int(row * tile[0]) + gap, left + int(column * tile[1]) + gap
        canvas.paste(Image.fromarray(picture[..., 0] if channels == 1 else picture), (start, top))
        if words is not None and in_rows and column == 0:
            draw.text((left // 2, top + height * scale // 2), words[i], fill=ink, font=font, anchor="mm")
        elif words is not None and not in_rows:
            middle = start + pixels * scale // 2
            draw.text((middle, top + height * scale + line // 2), words[i], fill=ink, font=font, anchor="mm")
    return canvas


def with_caption(picture: Image.Image, text: str) -> Image.Image:
    """The picture with a line of text below it, in letters that fit its width."""
    points = 16
    while (font := ImageFont.load_default(size=points)).getlength(text) > picture.width - 4 and points > _SMALLEST:
        points -= 1
    ground, ink = (_GROUND, _INK) if picture.mode == "L" else ((_GROUND,) * 3, (_INK,) * 3)
    canvas = Image.new(picture.mode, (picture.width, picture.height + round(1.5 * points)), ground)
    canvas.paste(picture, (0, 0))
    middle = (picture.width // 2, picture.height + round(0.7 * points))
    ImageDraw.Draw(canvas).text(middle, text, fill=ink, font=font, anchor="mm")
    return canvas
