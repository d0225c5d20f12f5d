"""Settings of the verbs on their way to components: flags in one text at the door, and JSON from there on."""

import shlex
from typing import TypeVar

from jeat_tf.config.flags import parsed
from jeat_tf.config.store import from_json
from jeat_tf.core.values import Value

Config = TypeVar("Config", bound=Value)


def flag_words(text: str) -> list[str]:
    """The flags in a text, as a shell reads them: a blank inside quotes belongs to its flag.

    Raises:
      ValueError: a quote that is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot read the flags {text}: {error}; write quotes in pairs") from error


def by_flags(kind: type[Config], text: str) -> Config:
    """The settings that flags in one text describe.

    Raises:
      ValueError: a flag that is not known, or a value that it cannot have.
    """
    return parsed(kind, *flag_words(text))


def by_json(kind: type[Config], text: str) -> Config:
    """The settings in a JSON text, which is what `config.json` of a run holds; the defaults where there is none.

    Raises:
      ValueError: no such settings.
    """
    return from_json(kind, text, "--settings") if text else kind()
