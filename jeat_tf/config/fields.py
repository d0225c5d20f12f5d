"""What settings are made of: fields that are flags as well, and what is done with whole sets of them."""

import dataclasses
import difflib
import json
from typing import Any, TypeVar

from jeat_tf.core.units import number

Config = TypeVar("Config")


def setting(default: Any, help: str, *, choices: tuple[str, ...] = (), identity: bool = True) -> Any:
    """A dataclass field that is also a flag.

    Args:
      default: its type is the flag's type; a float flag also reads fractions such as 8/255.
      help: one line; units where there are any.
      choices: allowed strings.
      identity: False for what does not change the numbers of a run (folders, logging), so that a resumed run
        may differ in it.
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "identity": identity})


def to_json(config: Any) -> str:
    """The settings as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(kind: type[Config], text: str) -> Config:
    """The settings of that kind in a JSON text.

    Raises:
      ValueError: not JSON, or a field that this version does not know.
    """
    try:
        values = json.loads(text)
        return _from_dict(kind, values)
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise ValueError(f"not the settings of a {kind.__name__}: {error}") from error


def _from_dict(kind: Any, values: dict) -> Any:
    nested = {f.name: f.type for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.type)}
    return kind(
        **{name: _from_dict(nested[name], value) if name in nested else value for name, value in values.items()}
    )


def leaves(config: Any) -> dict[str, tuple[Any, dataclasses.Field]]:
    """All settings by flag name: value and field. `config` may be the class itself, for defaults."""
    found: dict[str, tuple[Any, dataclasses.Field]] = {}
    for field in dataclasses.fields(config):
        value = field.default if isinstance(config, type) else getattr(config, field.name)
        if dataclasses.is_dataclass(field.type):
            found |= leaves(value)
        else:
            found[field.name] = (value, field)
    return found


def replace(config: Config, **settings: Any) -> Config:
    """A copy with settings changed by flag name, wherever they sit.

    Raises:
      ValueError: no such setting, with the nearest names.
    """
    known = leaves(config)
    for name in settings:
        if name not in known:
            raise ValueError(f'unknown setting "{name}"; {nearest(name, known)}')
    return _replace(config, settings)


def _replace(config: Any, settings: dict[str, Any]) -> Any:
    changes = {}
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(field.type):
            changes[field.name] = _replace(getattr(config, field.name), settings)
        elif field.name in settings:
            changes[field.name] = settings[field.name]
    return dataclasses.replace(config, **changes)


def differences(old: Any, new: Any) -> list[str]:
    """ "name: old -> new" for each setting that makes two runs different."""
    before, after = leaves(old), leaves(new)
    return [
        f"{name}: {before[name][0]!r} -> {value!r}"
        for name, (value, field) in after.items()
        if field.metadata["identity"] and before[name][0] != value
    ]


def nearest(name: str, known: Any) -> str:
    """ "did you mean ...?" or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list; empty for an empty text."""
    return tuple(number(part.strip()) for part in text.split(",") if part.strip())


def check_epsilon(epsilon: float, norm: str = "linf") -> None:
    """Raises ValueError unless epsilon is a pixel radius: in [0, 1] for linf, at least 0 for l2."""
    if not epsilon >= 0 or (norm == "linf" and epsilon > 1):
        raise ValueError(
            f"expected epsilon in [0, 1] pixel units, received {epsilon:g}"
            + (f", which looks like a 0-255 value; write --epsilon={epsilon:g}/255" if epsilon > 1 else "")
        )
