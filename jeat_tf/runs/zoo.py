"""Nets that come with the package: each is a folder of net.keras and its card."""

import functools
import pathlib

import keras

from jeat_tf.core.files import sha256
from jeat_tf.core.values import nearest
from jeat_tf.models.files import load_net
from jeat_tf.runs.card import ModelCard, read_card

ZOO = pathlib.Path(__file__).parents[1] / "zoo"


@functools.cache
def zoo() -> dict[str, ModelCard]:
    """name -> card, of all nets that come with the package."""
    cards = {path.parent.name: read_card(str(path.parent)) for path in sorted(ZOO.glob("*/card.json"))}
    return {name: card for name, card in cards.items() if card is not None}


def load_pretrained(name: str) -> keras.Model:
    """A net that comes with the package: images in [0, 1] -> logits. No download is needed.

    >>> net = jt.load_pretrained("digits-jeat")
    >>> digits = jt.EnergyClassifier.from_preset("digits/jeat", net).generate(range(10))

    Args:
      name: as `jeat_tf list models` has it.

    Raises:
      ValueError: no such net, with the names that are near; or a file whose digest is not that of its card.
    """
    if name not in zoo():
        raise ValueError(f'unknown model "{name}"; {nearest(name, zoo())}')
    file = str(ZOO / name / "net.keras")
    found, expected = sha256(file), zoo()[name].file_sha256
    if found != expected:
        raise ValueError(
            f"expected {file} with the SHA-256 {expected} of its card, received {found}; it was not loaded. Install "
            "the package again"
        )
    return load_net(file)
