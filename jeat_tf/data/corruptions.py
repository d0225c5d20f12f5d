"""Common corruptions of images, in five strengths, after ImageNet-C (Hendrycks & Dietterich, 2019).

https://arxiv.org/abs/1903.12261. Images of up to 64 pixels get the strengths of CIFAR-10-C, larger ones those of
ImageNet-C, by scipy and PIL. Motion blur, glass blur, snow, frost, fog, spatter and elastic transform are left out,
because they need ImageMagick, pictures or OpenCV. `corruption_library` has them by another package. For published
numbers use the published images.
"""

import io
from collections.abc import Callable

import numpy as np
import scipy.ndimage
from PIL import Image

from jeat_tf.core.seeds import per_image

SEVERITIES = (1, 2, 3, 4, 5)
_LARGE = 64  # pixels: the longer side of images that take ImageNet-C's strengths

Draw = np.random.Generator


def corrupt(images: np.ndarray, name: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """float32[B, H, W, C] on the 256 values of 8-bit pixels, in [0, 1].

    Args:
      images: float32[B, H, W, C] in [0, 1], C of 1 or 3.
      name: one of `CORRUPTIONS`; saturate needs colours.
      severity: 1 to 5.
      seed: of noise; an image's noise depends on this and on its content alone.

    Raises:
      ValueError: an unknown name, another severity, or images that the corruption is not made for.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name}; expected one of {', '.join(CORRUPTIONS)}")
    check_severity(severity)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"expected images [B, H, W, 1 or 3] to corrupt, received shape {list(images.shape)}")
    if name == "saturate" and images.shape[-1] != 3:
        raise ValueError("the corruption saturate needs images with colours, received grey ones; leave it out")
    fn, small, large = CORRUPTIONS[name]
    strength = (large if max(images.shape[1:3]) > _LARGE else small)[severity - 1]
    place = list(CORRUPTIONS).index(name) * len(SEVERITIES) + severity
    seeds = per_image(np.array([seed, place]), images).view(np.uint32)
    draws = [np.random.Generator(np.random.Philox(int(a) << 32 | int(b))) for a, b in seeds]
    found = np.stack([fn(x.astype(np.float64), strength, draw) for x, draw in zip(images, draws, strict=True)])
    return (np.rint(np.clip(found, 0, 1) * 255) / 255).astype(np.float32)


def check_severity(severity: int) -> None:
    """Raises ValueError unless the severity is one of 1 to 5."""
    if severity not in SEVERITIES:
        raise ValueError(f"expected a severity of 1 to 5, received {severity}")


def _gaussian_noise(x: np.ndarray, std: float, draw: Draw) -> np.ndarray:
    return x + draw.normal(0.0, std, x.shape)


def _shot_noise(x: np.ndarray, photons: float, draw: Draw) -> np.ndarray:
    return draw.poisson(x * photons) / photons


def _impulse_noise(x: np.ndarray, share: float, draw: Draw) -> np.ndarray:
    hit, white = draw.random(x.shape) < share, draw.random(x.shape) < 0.5
    return np.where(hit, white.astype(x.dtype), x)


def _speckle_noise(x: np.ndarray, std: float, draw: Draw) -> np.ndarray:
    return x * (1 + draw.normal(0.0, std, x.shape))


def _gaussian_blur(x: np.ndarray, std: float, draw: Draw) -> np.ndarray:
    del draw
    return scipy.ndimage.gaussian_filter(x, (std, std, 0), mode="nearest")


def _defocus_blur(x: np.ndarray, lens: tuple[float, float], draw: Draw) -> np.ndarray:
    del draw
    radius, smoothing = lens
    reach = int(np.ceil(radius)) + 2
    across = np.arange(-reach, reach + 1)
    kernel = (across[:, None] ** 2 + across[None] ** 2 <= radius**2).astype(float)
    width = 1 if radius <= 8 else 2
    taps = np.exp(-0.5 * (np.arange(-width, width + 1) / smoothing) ** 2)
    kernel = scipy.ndimage.convolve(kernel / kernel.sum(), np.outer(taps, taps) / taps.sum() ** 2, mode="constant")
    return scipy.ndimage.convolve(x, kernel[:, :, None], mode="mirror")


def _zoom_blur(x: np.ndarray, zooms: tuple[float, float], draw: Draw) -> np.ndarray:
    del draw
    factors = np.arange(1.0, *zooms)
    return (x + sum(_zoomed(x, factor) for factor in factors)) / (len(factors) + 1)


def _zoomed(x: np.ndarray, factor: float) -> np.ndarray:
    """The middle of the image, enlarged to its size."""
    height, width = x.shape[:2]
    rows, columns = (int(np.ceil(side / factor)) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    large = scipy.ndimage.zoom(x[top : top + rows, left : left + columns], (factor, factor, 1), order=1)
    top, left = ((large.shape[i] - side) // 2 for i, side in enumerate((height, width)))
    return large[top : top + height, left : left + width]


def _brightness(x: np.ndarray, rise: float, draw: Draw) -> np.ndarray:
    del draw
    value = x.max(axis=-1, keepdims=True)  # of hue, saturation, value: the other two stay
    raised = np.clip(value + rise, 0, 1)
    return np.where(value > 0, x * raised / np.maximum(value, 1e-12), raised)


def _saturate(x: np.ndarray, change: tuple[float, float], draw: Draw) -> np.ndarray:
    del draw
    factor, rise = change
    value = x.max(axis=-1, keepdims=True)
    saturation = (value - x.min(axis=-1, keepdims=True)) / np.maximum(value, 1e-12)
    changed = np.clip(factor * saturation + rise, 0, 1)
    return np.where(saturation > 0, value - (value - x) * changed / np.maximum(saturation, 1e-12), x)


def _contrast(x: np.ndarray, factor: float, draw: Draw) -> np.ndarray:
    del draw
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def _pixelate(x: np.ndarray, factor: float, draw: Draw) -> np.ndarray:
    del draw
    height, width = x.shape[:2]
    small = _picture(x).resize((max(int(width * factor), 1), max(int(height * factor), 1)), Image.Resampling.BOX)
    return _pixels(small.resize((width, height), Image.Resampling.BOX), x.shape)


def _jpeg_compression(x: np.ndarray, quality: int, draw: Draw) -> np.ndarray:
    del draw
    file = io.BytesIO()
    _picture(x).save(file, "JPEG", quality=quality)
    return _pixels(Image.open(file), x.shape)


def _picture(x: np.ndarray) -> Image.Image:
    pixels = np.rint(x * 255).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if x.shape[-1] == 1 else pixels)


def _pixels(picture: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(picture, np.float64).reshape(shape) / 255


CORRUPTIONS: dict[str, tuple[Callable, tuple, tuple]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "speckle_noise": (_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2), (0.15, 0.2, 0.35, 0.45, 0.6)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),
    "defocus_blur": (
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "zoom_blur": (
        _zoom_blur,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "saturate": (
        _saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
"""Name -> function of (image, strength, draws), strengths for small images, and for large ones."""
