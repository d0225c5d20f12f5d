"""The nineteen corruptions of ImageNet-C by the package imagecorruptions, for colour images of 32 pixels and more.

`pip install 'jeat_tf[corruptions]'` brings imagecorruptions-imaug, the maintained fork of the package of Michaelis et
al. (2019, https://arxiv.org/abs/1907.07484). It is not a part of this package, because it needs OpenCV, Numba and
scikit-image, some 450 MB. It draws from NumPy's global generator, which is seeded here and put back.
"""

import importlib.util

import numpy as np

from jeat_tf.core.seeds import per_image
from jeat_tf.data.corruptions import check_severity

PACKAGE = "imagecorruptions"
NAMES = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression", "speckle_noise",
    "gaussian_blur", "spatter", "saturate",
)  # fmt: skip
_LEAST = 32  # pixels of a side that the package takes
_SEEDED = ("impulse_noise", "glass_blur")  # do not draw from NumPy's global generator


def corrupt_by_library(images: np.ndarray, name: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """float32[B, H, W, 3] on the 256 values of 8-bit pixels, in [0, 1]; the strengths are ImageNet-C's.

    Args:
      images: float32[B, H, W, 3] in [0, 1].
      name: one of `NAMES`.
      severity: 1 to 5.
      seed: of what is random; an image's draws depend on this and on its content alone.

    Raises:
      ValueError: the package is not installed, an unknown name, another severity, or images that it does not take.
    """
    check_installed(images.shape[1:])
    if name not in NAMES:
        raise ValueError(f"unknown corruption {name}; expected one of {', '.join(NAMES)}")
    check_severity(severity)
    from imagecorruptions import corrupt

    place = NAMES.index(name) * 5 + severity
    seeds = per_image(np.array([seed, place]), images).view(np.uint32)
    before, found = np.random.get_state(), []  # noqa: NPY002
    try:
        for image, (a, b) in zip(np.rint(images * 255).astype(np.uint8), seeds, strict=True):
            np.random.seed([int(a), int(b)])  # noqa: NPY002
            more = {"seed": int(a ^ b)} if name in _SEEDED else {}
            found.append(corrupt(image, corruption_name=name, severity=severity, **more))
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.stack(found).astype(np.float32) / np.float32(255)


def check_installed(image_shape: tuple[int, ...]) -> None:
    """Raises ValueError where the package is not installed or does not take images of this shape."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise ValueError(
            f"expected the package {PACKAGE} for --corruptions={PACKAGE}; pip install 'jeat_tf[corruptions]', or give "
            "--corruptions=common"
        )
    if len(image_shape) != 3 or image_shape[-1] != 3 or min(image_shape[:2]) < _LEAST:
        raise ValueError(
            f"expected colour images of at least {_LEAST} pixels a side for --corruptions={PACKAGE}, received shape "
            f"{list(image_shape)}; give --corruptions=common"
        )
