"""Which layouts a state_dict fits, and what keeps it from fitting the others."""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from jeat_tf.convert.layouts import LAYOUTS, Layout
from jeat_tf.convert.parts import Parts, Shape

_LISTED = 8  # misfits of each kind in an error


class Fit(NamedTuple):
    """How a state_dict and a layout fit: well, where there are neither misfits nor missing arrays.

    Attributes:
      misfits: a sentence for each array of the file that has another shape or no place.
      missing: a sentence for each array that the file lacks.
      ignored: names of arrays that the layout has and does not use.
    """

    misfits: list[str]
    missing: list[str]
    ignored: list[str]


def fit(arrays: Mapping[str, np.ndarray], layout: Layout) -> Fit:
    """Compares the arrays with those that the layout's net would have at their depth and width."""
    parts = Parts(arrays, dry=True)
    found = Fit([], [], [])
    try:
        layout.forward(parts, keras.KerasTensor((None, *layout.image_shape)))
    except ValueError as error:  # two branches of different shapes
        found.misfits.append(f"such arrays make no net: {error}")
    unused = tuple(f"{module}." for module in layout.unused)
    for name, array in arrays.items():
        expected = parts.expected.get(name)
        if expected is None and name.startswith(unused):
            found.ignored.append(name)
        elif expected is None:
            found.misfits.append(f"{name} {_text(array.shape)} has no place")
        elif expected != array.shape:
            found.misfits.append(f"{name} has shape {_text(array.shape)}, expected {_text(expected)}")
    lacking = ((name, shape) for name, shape in parts.expected.items() if name not in arrays)
    found.missing.extend(f"{name} {_text(shape)} is missing" for name, shape in lacking)
    return found


def fitting(arrays: Mapping[str, np.ndarray], wanted: str = "") -> dict[str, Fit]:
    """The layouts that fit, by name.

    Args:
      arrays: of a state_dict.
      wanted: name of the only layout to try; empty: all.

    Raises:
      ValueError: an unknown name, or no layout fits: then with the nearest one and all that keeps it from fitting.
    """
    if wanted and wanted not in LAYOUTS:
        close = difflib.get_close_matches(wanted, LAYOUTS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(LAYOUTS)}"
        raise ValueError(f'unknown layout "{wanted}"; {hint}')
    fits = {name: fit(arrays, LAYOUTS[name]) for name in ([wanted] if wanted else LAYOUTS)}
    found = {name: each for name, each in fits.items() if not each.misfits and not each.missing}
    if found:
        return found
    nearest = min(fits, key=lambda name: len(fits[name].misfits) + len(fits[name].missing))
    lines = "\n  ".join(_first(fits[nearest].misfits) + _first(fits[nearest].missing))
    if wanted:
        raise ValueError(f"expected arrays of the layout {wanted}, received others:\n  {lines}")
    raise ValueError(
        f"expected arrays of a known layout, received {len(arrays)} arrays of another. The nearest is {nearest} "
        f"({LAYOUTS[nearest].published}), to which these do not fit:\n  {lines}\nKnown layouts: {', '.join(LAYOUTS)}"
    )


def _first(lines: list[str]) -> list[str]:
    return lines[:_LISTED] + ([f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else [])


def _text(shape: Shape) -> str:
    return f"[{', '.join(str(each) for each in shape)}]"
