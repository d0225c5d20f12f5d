"""Accuracy over epsilon from one run of an attack that looks for the nearest adversarial image."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jeat_tf import figures
from jeat_tf.runs.results import Curve

_POINTS = 41  # of a curve


class Distances(NamedTuple):
    """What an attack of the least distance found.

    Attributes:
      norm: of the distances.
      correct: bool[N], classified correctly without an attack.
      broken: bool[N], of these, those with an adversarial image.
      distance: float[N], to it.
    """

    norm: str
    correct: np.ndarray
    broken: np.ndarray
    distance: np.ndarray

    def unbroken(self, epsilon: float) -> np.ndarray:
        """bool[N], classified correctly, and no adversarial image was found within epsilon."""
        return self.correct & ~(self.broken & (self.distance <= epsilon))


def curves_of(found: Mapping[str, Distances]) -> tuple[Curve, ...]:
    """A curve for each attack, at 41 radii from 0 to the largest distance of its norm.

    Args:
      found: by name of the attack.
    """
    curves = []
    for name, each in found.items():
        same = [other for other in found.values() if other.norm == each.norm]
        largest = max(float(other.distance[other.broken].max(initial=0.0)) for other in same)
        radii = np.linspace(0.0, largest, _POINTS)
        right = tuple(int(each.unbroken(radius).sum()) for radius in radii)
        curves.append(Curve(name, each.norm, tuple(map(float, radii)), right, len(each.correct)))
    return tuple(curves)


def draw_curves(folder: str, curves: Sequence[Curve]) -> None:
    """Writes `distances_<norm>.png` and its numbers, for each norm."""
    for norm in dict.fromkeys(curve.norm for curve in curves):
        same = [curve for curve in curves if curve.norm == norm]
        right = {curve.attack: np.array(curve.correct) for curve in same}
        drawn = figures.draw_distance_curves(norm, same[0].epsilons, right, num_images=same[0].images)
        arrays = {name.replace(" ", "_"): counts for name, counts in right.items()}
        path = os.path.join(folder, f"distances_{norm}")
        figures.save_figure(path, drawn, epsilons=np.array(same[0].epsilons), **arrays)
