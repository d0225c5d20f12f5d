"""Presets: flagfiles that come with the package, known by names such as digits/jeat."""

import functools
import os
import pathlib
from typing import Any

from jeat_tf.core.flat import owners, read, replace
from jeat_tf.core.values import Value, nearest, setting, value
from jeat_tf.methods.base import Method
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.updates import UPDATES, Update

_PACKAGE = pathlib.Path(__file__).parents[1]


@functools.cache
def presets() -> dict[str, pathlib.Path]:
    """name -> flagfile, of an installed package or of a checkout."""
    root = next((p for p in (_PACKAGE / "presets", _PACKAGE.parent / "configs") if p.is_dir()), None)
    found = sorted(root.glob("*/*.flags")) if root else []
    return {f"{path.parent.name}/{path.stem}": path for path in found}


def preset_file(name: str) -> str:
    """The flagfile of a preset's name, or of a path to one.

    Raises:
      ValueError: neither, with the names that are near.
    """
    if name.endswith(".flags") and os.path.isfile(name):
        return name
    if name not in presets():
        raise ValueError(f'unknown preset "{name}"; {nearest(name, presets())}')
    return str(presets()[name])


def summary(path: pathlib.Path) -> str:
    """The first line of a preset's header."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip()


@value
class Training(Value):
    """What a preset says about training itself: a method and an update."""

    method: Method = setting(JEAT(), "training method", kinds=methods)
    update: Update | None = setting(None, "what is wrapped around the descent", kinds=UPDATES)


def training_of(preset: str, **settings: Any) -> Training:
    """The method and the update of a preset; what it says about nets, data and optimizers is left to the caller.

    Args:
      preset: as for `preset_file`.
      **settings: settings that override the preset's, by their flat names.

    Raises:
      ValueError: no such preset or setting, or one that has no effect.
    """
    known, given = owners(Training), {}
    for line in pathlib.Path(preset_file(preset)).read_text(encoding="utf-8").splitlines():
        name, equals, text = line.strip().removeprefix("--").partition("=")
        if line.startswith("--no") and not equals and name.removeprefix("no") in known:
            given[name.removeprefix("no")] = False
        elif line.startswith("--") and name in known:
            given[name] = read(name, text if equals else "true", known[name][0].field)
    return replace(replace(Training(), strict=False, **given), **settings)
