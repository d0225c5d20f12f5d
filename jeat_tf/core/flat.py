"""Nested values under flat names: `--chain_steps=20` is the `steps` of the `chain` of a method.

Flags, `replace(config, epochs=3)`, the words of `--stages` and the comparison of two runs all use these names.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from jeat_tf.core.units import number
from jeat_tf.core.values import Value, conversions, default_of, fields, imported, kinds_of, nearest, word_of

V = TypeVar("V", bound=Value)


class Owner(NamedTuple):
    """One place that reads a setting.

    Attributes:
      kind: class that has the field.
      field: the field.
      group: name of the group that help lists it in.
      choices: (flag, word) of each choice that leads there, e.g. ("method", "trades").
    """

    kind: type[Value]
    field: dataclasses.Field
    group: str
    choices: tuple[tuple[str, str], ...]


def owners(kind: type[Value]) -> dict[str, list[Owner]]:
    """Every setting of a value, and of all that it may hold, by its flat name."""
    found: dict[str, list[Owner]] = {}
    _collect(kind, "", kind.__name__, (), found)
    return found


def _collect(
    kind: type[Value], prefix: str, group: str, choices: tuple[tuple[str, str], ...], found: dict[str, list[Owner]]
) -> None:
    for field in [*fields(kind), *conversions(kind)]:
        name = flat_name(field, prefix)
        if name is None:
            continue
        kinds, nested = kinds_of(field), _nested(field)
        if nested is not None:
            _collect(nested, "", field.name, choices, found)
            continue
        below = field.name if kinds and (field.metadata["prefix"] or not choices) else group
        found.setdefault(name, []).append(Owner(kind, field, below, choices))
        for word, each in kinds.items():
            _collect(each, field.metadata["prefix"], below, (*choices, (name, word)), found)


def flat_name(field: dataclasses.Field, prefix: str) -> str | None:
    """The flat name of a field; None for one that has none."""
    flag = field.metadata.get("flag")
    if flag == "":
        return None
    return flag or f"{prefix}{field.name}"


def _nested(field: dataclasses.Field) -> type[Value] | None:
    """The class of a field that holds a value of one kind only."""
    kind = field.type
    return kind if isinstance(kind, type) and issubclass(kind, Value) and not kinds_of(field) else None


def replace(base: V, *, strict: bool = True, **settings: Any) -> V:
    """A copy with settings changed by their flat names, wherever they sit.

    Args:
      base: what is changed.
      strict: refuse a setting that has no effect beside the others.
      **settings: flat name -> value; a word for a value of several kinds, e.g. method="jem".

    Raises:
      ValueError: no such setting, one that has no effect, or a value out of its bounds.
    """
    known = owners(type(base))
    for name in settings:
        if name not in known:
            raise ValueError(f'unknown setting "{name}"; {nearest(name, known)}')
    used: set[str] = set()
    made = _replaced(base, settings, "", used)
    for name in settings:
        if strict and name not in used:
            raise ValueError(no_effect(name, settings[name], known[name], flatten(made)))
    return made


def _replaced(base: V, given: Mapping[str, Any], prefix: str, used: set[str]) -> V:
    changes: dict[str, Any] = {}
    for field in fields(type(base)):
        name = flat_name(field, prefix)
        if name is None:
            continue
        current = getattr(base, field.name)
        kinds = kinds_of(field)
        if kinds:
            if name in given:
                used.add(name)
                current = chosen(given[name], name, kinds, current)
            if isinstance(current, Value):
                current = _replaced(current, given, field.metadata["prefix"], used)
        elif _nested(field) is not None:
            current = _replaced(current, given, "", used)
        elif name in given:
            used.add(name)
            current = given[name]
        if current is not getattr(base, field.name):
            changes[field.name] = current
    for field in conversions(type(base)):
        name = flat_name(field, prefix)
        if name is not None and name in given:
            used.add(name)
            changes[field.name] = given[name]
    return dataclasses.replace(base, **changes) if changes else base  # type: ignore[type-var]


def chosen(word: Any, name: str, kinds: Mapping[str, type[Value]], current: Any = None) -> Any:
    """The value that a word stands for: with its defaults, or the current one where that is of this kind.

    Args:
      word: of `kinds`; `package.module:Class` for a class from elsewhere; "none" where nothing is allowed; or a value.
      name: flat name of the setting.
      kinds: word -> class.
      current: the value so far.

    Raises:
      ValueError: an unknown word, with its neighbours.
    """
    if isinstance(word, Value) or word is None:
        return word
    if word == "none" and "none" not in kinds:
        return None
    kind = kinds.get(word) or imported(word, f"--{name}")
    if kind is None:
        raise ValueError(f'unknown {name.replace("_", " ")} "{word}"; {nearest(word, kinds)}')
    return current if type(current) is kind else kind()


def no_effect(name: str, given: Any, where: list[Owner], current: Mapping[str, Any]) -> str:
    """The sentence about a setting that nothing reads."""
    # For each reader the first choice that is not made, with its depth: the deepest is nearest to the given settings.
    missing = [
        next(((i, of, word) for i, (of, word) in enumerate(owner.choices) if current.get(of) != word), (-1, "", ""))
        for owner in where
    ]
    deepest, flag, _ = max(missing, key=lambda miss: miss[0])
    words = list(dict.fromkeys(word for depth, of, word in missing if (depth, of) == (deepest, flag) and word))
    reason = (
        f" with --{flag}={current.get(flag, 'none')}; only {_listed(words)} use{'s' * (len(words) == 1)} it"
        * bool(words)
    )
    return f"--{name}={given} has no effect{reason}. Remove it"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def flatten(of: Value, *, identity: bool = False) -> dict[str, Any]:
    """flat name -> value; a value of several kinds appears as its word.

    Args:
      of: the nested value.
      identity: leave out what does not change the numbers of a run.
    """
    found: dict[str, Any] = {}
    _flatten(of, "", identity, found)
    return found


def _flatten(of: Value, prefix: str, identity: bool, found: dict[str, Any]) -> None:
    for field in fields(type(of)):
        name = flat_name(field, prefix)
        if name is None or (identity and not field.metadata["identity"]):
            continue
        here = getattr(of, field.name)
        if _nested(field) is not None:
            _flatten(here, "", identity, found)
        elif kinds_of(field):
            found[name] = "none" if here is None else repr(here)
            if isinstance(here, Value):
                found[name] = word_of(here, kinds_of(field))
                _flatten(here, field.metadata["prefix"], identity, found)
        else:
            found[name] = here


def differences(old: Value, new: Value) -> list[str]:
    """ "name: old -> new" for each setting that makes two runs different."""
    before, after = flatten(old, identity=True), flatten(new, identity=True)
    names = [*after, *(name for name in before if name not in after)]
    return [f"{n}: {before.get(n)!r} -> {after.get(n)!r}" for n in names if before.get(n) != after.get(n)]


def default(where: list[Owner]) -> Any:
    """The default of a setting, where all that read it agree; else None."""
    defaults = {repr(default_of(owner.field)): default_of(owner.field) for owner in where}
    return next(iter(defaults.values())) if len(defaults) == 1 else None


def read(what: str, text: str, field: dataclasses.Field) -> Any:
    """The value of a field, from its text on a command line.

    Args:
      what: noun for messages, e.g. "--epochs".
      text: as it was typed.
      field: the field, whose annotation tells how to read the text.

    Raises:
      ValueError: the text is no value of the field's type.
    """
    annotation = str(field.type)
    if "bool" in annotation:
        if text not in ("true", "false"):
            raise ValueError(f'expected {what} to be true or false, received "{text}"')
        return text == "true"
    if field.metadata["kinds"] or "str" in annotation:
        return text
    found = number(text)
    if not math.isfinite(found):
        raise ValueError(f"expected {what} to be a finite number, received {text}")
    if "float" not in annotation:
        if found != int(found):
            raise ValueError(f"expected {what} to be a whole number, received {text}")
        return int(found)
    return found
