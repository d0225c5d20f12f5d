"""Settings on disk: `config.json`, with the version of its schema."""

import json
from typing import TypeVar

from jeat_tf.core.values import Value, from_dict, to_dict

SCHEMA = 2
"""Raised whenever a setting is renamed or means something else."""
Config = TypeVar("Config", bound=Value)


def to_json(config: Value) -> str:
    """The settings as indented JSON."""
    return json.dumps({"schema": SCHEMA, "kind": type(config).__name__, "settings": to_dict(config)}, indent=2) + "\n"


def from_json(kind: type[Config], text: str, where: str = "config.json") -> Config:
    """The settings of that kind in a JSON text.

    Args:
      where: the file, for errors.

    Raises:
      ValueError: not JSON, of another version, of another kind, or a setting that this version does not know.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}; it is damaged, give the flags again") from error
    if not isinstance(found, dict) or "schema" not in found:
        raise ValueError(
            f"{where} holds the settings of a {kind.__name__} without a version, as jeat_tf wrote them before its "
            "settings became values; run the verb again in a new folder"
        )
    if found["schema"] != SCHEMA:
        raise ValueError(
            f"expected settings of schema {SCHEMA} in {where}, received schema {found['schema']!r}; read it with the "
            "version of jeat_tf that wrote it, or run the verb again in a new folder"
        )
    if found.get("kind") != kind.__name__:
        raise ValueError(f"expected the settings of a {kind.__name__} in {where}, received {found.get('kind')!r}")
    try:
        return from_dict(kind, found.get("settings"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot read the settings of a {kind.__name__} in {where}: {error}") from error


def read_settings(kind: type[Config], path: str) -> Config:
    """The settings in a file.

    Raises:
      ValueError: no such file, or not the settings of that kind.
    """
    try:
        with open(path, encoding="utf-8") as f:
            return from_json(kind, f.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
