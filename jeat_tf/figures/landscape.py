"""The energy on a plane through an image (JEAT Fig. 2)."""

import math
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from jeat_tf.core.energy import energy
from jeat_tf.core.types import Seed
from jeat_tf.figures.style import panels, set_title

_BATCH = 256
_LINES = 7  # contour lines in a panel
_DARK = ListedColormap(colormaps["viridis"](np.linspace(0, 0.8, 256)))  # without the yellow: white lines stay visible


class Landscape(NamedTuple):
    """Energies of several nets on the same plane; [m, i, j] is at image + offsets[j] d_0 + offsets[i] d_1.

    Attributes:
      nets: str[M].
      offsets: float32[P], -radius to radius, in pixels (l2); the image is in the middle.
      directions: float32[2, H, W, C], d_0 and d_1, orthogonal, of l2 norm 1.
      joint_energy: float32[M, P, P], E(x, y).
      marginal_energy: float32[M, P, P], E(x).
    """

    nets: np.ndarray
    offsets: np.ndarray
    directions: np.ndarray
    joint_energy: np.ndarray
    marginal_energy: np.ndarray


def energy_contours(
    nets: dict[str, keras.Model],
    image: np.ndarray,
    label: int,
    *,
    radius: float,
    num_points: int = 41,
    seed: Seed,
) -> Landscape:
    """E(x, y) and E(x) of each net on one plane through an image, in two random directions (JEAT Fig. 2).

    The paper leaves the directions' length open. Here they are Gaussian, made orthogonal and of l2 norm 1, the same for
    all nets. Pixels are not clipped: beyond [0, 1] the nets are shown what they never saw in training.

    Args:
      nets: images -> logits, by name.
      image: float32[H, W, C] in [0, 1].
      label: y.
      radius: l2 distance in pixels from the image to the ends of both axes.
      num_points: on each axis; odd, so that the image itself is one.
      seed: int32[2], of the directions.

    Raises:
      ValueError: no net, a label that a net does not have, a radius that is not positive, an even number of points or
        fewer than 3, an image with a batch axis, or of fewer than two values.
    """
    if not nets:
        raise ValueError("expected at least one net, received none")
    num_classes = min(net.output_shape[-1] for net in nets.values())
    if not 0 <= label < num_classes:
        raise ValueError(f"expected a label in [0, {num_classes}), received {label}")
    if not radius > 0:
        raise ValueError(f"expected radius > 0 in pixels, received {radius}")
    if num_points < 3 or num_points % 2 == 0:
        raise ValueError(f"expected an odd num_points >= 3, so that the image is in the middle, received {num_points}")
    if image.ndim != 3 or image.size < 2:
        raise ValueError(f"expected one image [H, W, C] of two values or more, received shape {list(image.shape)}")
    drawn = tf.random.stateless_normal([2, image.size], seed, alg="philox").numpy().astype(np.float64)
    directions = np.linalg.qr(drawn.T)[0].T
    offsets = np.linspace(-radius, radius, num_points)
    steps = np.stack(np.meshgrid(offsets, offsets), axis=-1).reshape(-1, 2)
    plane = (image.reshape(1, -1) + steps @ directions).reshape(-1, *image.shape).astype(np.float32)
    labels = np.full(len(plane), label)
    logits = [np.concatenate([net(part, training=False) for part in _parts(plane)]) for net in nets.values()]
    square = (len(nets), num_points, num_points)
    return Landscape(
        nets=np.array(list(nets)),
        offsets=offsets.astype(np.float32),
        directions=directions.reshape(2, *image.shape).astype(np.float32),
        joint_energy=np.stack([energy(f, labels) for f in logits]).reshape(square),
        marginal_energy=np.stack([energy(f) for f in logits]).reshape(square),
    )


def draw_energy_contours(
    landscape: Landscape,
    quantity: Literal["joint_energy", "marginal_energy"] = "joint_energy",
    *,
    image: np.ndarray | None = None,
    name: str = "",
) -> Figure:
    """A panel for each net, darker where the energy is lower, one colour scale for all; the star is the image.

    Contour lines are each panel's own, with their energies: they show the form of a landscape that is flat on the
    common scale.

    Args:
      landscape: of `energy_contours`.
      quantity: E(x, y) or E(x).
      image: float[H, W, C] in the middle of the plane, which is shown in a corner of the first panel; None: not shown.
      name: of its class, below it.
    """
    values = getattr(landscape, quantity)
    rows = math.ceil(len(values) / 4)
    figure, axes = panels(rows, math.ceil(len(values) / rows), sharex=True, sharey=True)
    low, high = float(values.min()), float(values.max())
    offsets = landscape.offsets
    half = (offsets[1] - offsets[0]) / 2  # a point is in the middle of its square
    extent = (offsets[0] - half, offsets[-1] + half, offsets[0] - half, offsets[-1] + half)
    shown: Any = None
    for ax, net, z in zip(axes.flat, landscape.nets, values, strict=False):
        shown = ax.imshow(z, _DARK, vmin=low, vmax=high, origin="lower", extent=extent, interpolation="bilinear")
        lines = ax.contour(offsets, offsets, z, _LINES, colors="white", linestyles="solid", linewidths=0.6)
        ax.clabel(lines, fontsize=6)
        ax.plot(0, 0, marker="*", markersize=12, color="#0072B2", markeredgecolor="white")
        set_title(ax, str(net), inches=2.6)
    if image is not None:
        _show_in_corner(axes.flat[0], image, name)
    for ax in axes.flat[len(values) :]:
        ax.set_visible(False)
    figure.supxlabel("along the first direction\n(l2 distance, pixels in [0, 1])", fontsize=10)
    figure.supylabel("along the second direction", fontsize=10)
    symbol = "E(x, y)" if quantity == "joint_energy" else "E(x)"
    figure.colorbar(shown, ax=axes, label=f"${symbol}$" + (", same scale for all" if len(values) > 1 else ""))
    return figure


def _show_in_corner(axes: Axes, image: np.ndarray, name: str) -> None:
    corner = axes.inset_axes((0.02, 0.76, 0.22, 0.22))
    corner.imshow(np.clip(image.squeeze(), 0, 1), cmap="gray", vmin=0, vmax=1)
    corner.set(xticks=[], yticks=[])
    corner.spines[:].set(color="white", linewidth=1.5)
    corner.set_xlabel(name, fontsize=8, color="white", labelpad=2, fontweight="bold")


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
