"""A figure on disk: the picture, and beside it the numbers it shows."""

import numpy as np
from matplotlib.figure import Figure

from jeat_tf.core.files import whole_file, write_arrays

_DPI = 150


def save_figure(path: str, figure: Figure, **arrays: np.ndarray) -> None:
    """Writes `<path>.png` and, with arrays, `<path>.npz`, each as a whole; the same figure gives the same bytes.

    Example:
      save_figure("runs/figures/landscape", draw_energy_contours(landscape), **landscape._asdict())

    Args:
      path: without a suffix; its folder is created if need be.
      figure: what a `draw_...` function returns.
      **arrays: the numbers shown; read them back with `np.load(path + ".npz", allow_pickle=False)`.

    Raises:
      ValueError: the path ends in .png or .npz.
    """
    if path.endswith((".png", ".npz")):
        raise ValueError(f"expected a path without suffix, received {path}; .png and .npz are added to it")
    with whole_file(path + ".png") as temporary:
        figure.savefig(temporary, dpi=_DPI, metadata={"Software": None})  # the version of matplotlib
    if arrays:
        write_arrays(path + ".npz", **arrays)
