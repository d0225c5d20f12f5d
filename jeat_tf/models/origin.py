"""Where a net is from: what its images and its outputs are, as flags of every verb that takes a net."""

import importlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from jeat_tf.core.flat import owners, read, replace
from jeat_tf.core.units import numbers
from jeat_tf.core.values import Value, nearest, setting, value
from jeat_tf.models.missing import MissingSetting, as_flag, behind

if TYPE_CHECKING:
    from jeat_tf.models.foreign import Adapted

PIXELS = ("0..1", "0..255", "-1..1")
HEADS = ("auto", "logits", "softmax", "sigmoid", "log_softmax")
BEHIND = "; settings of a net from elsewhere go behind its path: net.keras:pixels=0..255,head=softmax"


@value
class Origin(Value):
    """How a net from elsewhere becomes a net of images in [0, 1] -> logits; the defaults suit a net of this library."""

    pixels: str = setting("0..1", "range of the pixels that the net was trained on", choices=PIXELS)
    mean: str = setting("", "mean subtracted from them: a number or one for each channel, e.g. 0.485,0.456,0.406")
    std: str = setting("", "standard deviation they were divided by after that: as --mean")
    head: str = setting(
        "auto",
        "how the net ends; auto: as its graph shows, or else its outputs; a softmax or a sigmoid is taken off",
        choices=HEADS,
    )
    output: str = setting("", "which output the logits are, of a net of several: its name, or its place from 0")
    imports: str = setting(
        "", "Python modules to import before the net is read, comma-separated: they register its layers", identity=False
    )
    trust: bool = setting(
        False, "load a SavedModel or a Lambda layer, which are programs: they may read and write files", identity=False
    )

    def _check(self) -> None:
        super()._check()
        for name in ("mean", "std"):
            numbers(getattr(self, name))

    def read(self, path: str) -> "Adapted":
        """The net in a file, as a net of images in [0, 1] -> logits, with a sentence for each change.

        Args:
          path: a .keras or .h5 file, the folder of a training run, or with `trust` a SavedModel.

        Raises:
          ValueError: nothing there, not a readable net, or not a classifier of images.
        """
        from jeat_tf.models.files import read_net
        from jeat_tf.models.foreign import adapted

        self._import()
        net = read_net(path, trust=self.trust)
        try:
            return adapted(
                net,
                pixels=self.pixels,
                mean=numbers(self.mean) or None,
                std=numbers(self.std) or None,
                head=self.head,
                output=self.output or None,
            )
        except MissingSetting as missing:
            raise missing.told(f"cannot use the net in {path}: ", as_flag) from missing
        except ValueError as error:
            raise ValueError(f"cannot use the net in {path}: {error}") from error

    def _import(self) -> None:
        for module in filter(None, map(str.strip, self.imports.split(","))):
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise ValueError(
                    f"cannot import {module} of --imports: {error}; install it, or set PYTHONPATH to its folder"
                ) from error


class NamedNet(NamedTuple):
    """A net beside the one that a verb is about, as a flag names it.

    Attributes:
      path: of its file or folder.
      origin: what is said of it behind the path; None where nothing is.
    """

    path: str
    origin: Origin | None = None

    def read(self) -> "Adapted":
        """`Origin.read`.

        Raises:
          ValueError: as there; a setting that is missing is named as it is typed behind the path.
        """
        try:
            return (self.origin or Origin()).read(self.path)
        except MissingSetting as missing:
            raise missing.told(write=behind(self.path)) from missing


def named_net(text: str) -> NamedNet:
    """What a path, or a path with the settings of `Origin` behind a colon, names.

    >>> named_net("theirs.keras:pixels=0..255,mean=123.7,116.3,103.5,head=softmax").path
    'theirs.keras'

    Raises:
      ValueError: an unknown setting, or a value that it cannot have, with the nearest names.
    """
    found = re.fullmatch(r"(.*):(\w+=.*)", text, re.DOTALL)
    if found is None or os.path.exists(text):
        return NamedNet(text)
    path, known, given = found[1], owners(Origin), {}
    for assignment in re.split(r",\s*(?=\w+=)", found[2]):
        name, _, said = assignment.partition("=")
        if name not in known:
            raise ValueError(f'unknown setting "{name}" behind {path}; {nearest(name, known)}')
        given[name] = read(f"{path}:{name}", said, known[name][0].field)
    return NamedNet(path, replace(Origin(), **given))
