"""Settings as values: frozen dataclasses that check themselves, print as one would type them, and become JSON.

A ball, an attack, a chain, a start, a method and an update are values. Python, flags, presets, `config.json` and
reports use the same ones. No module that defines a value imports TensorFlow at its top, so that `--help` and a typo
answer at once; what a value runs is imported where it runs.
"""

import dataclasses
import difflib
import importlib
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from jeat_tf.core.units import fraction_of_255, number

Kinds = Mapping[str, "type[Value]"] | Callable[[], Mapping[str, "type[Value]"]]
V = TypeVar("V", bound="Value")
Default = TypeVar("Default")


def setting(
    default: Default,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    kinds: Kinds | None = None,
    flag: str | None = None,
    prefix: str = "",
    pixels: bool = False,
    identity: bool = True,
) -> Default:
    """A field of a value, which may also be a flag.

    Args:
      default: the value where none is given.
      help: one line, with the unit where there is one.
      at_least, above, at_most, below: bounds of a number.
      choices: allowed strings.
      kinds: for a field that holds a value: word on the command line -> class, or a function that returns that.
      flag: name of the flag; None is the field's own name behind the prefix of whatever holds it.
      prefix: for a field that holds a value: what the names of its flags begin with.
      pixels: a length in [0, 1] pixels, shown as 8/255 where it is a whole number of such steps.
      identity: False for what does not change the numbers of a run (folders, logging), so that a resumed run may differ
        in it.
    """
    metadata = {
        "help": help,
        "bounds": (at_least, above, at_most, below),
        "choices": choices,
        "kinds": kinds,
        "flag": flag,
        "prefix": prefix,
        "pixels": pixels,
        "identity": identity,
    }
    if dataclasses.is_dataclass(default):
        # A value is frozen: sharing one default is safe, but dataclasses only accept what is hashable.
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@typing.dataclass_transform(frozen_default=True)
def value(cls: type[V]) -> type[V]:
    """Makes a class a value: a frozen dataclass with the checks, the repr and the JSON of `Value`."""
    return dataclasses.dataclass(frozen=True, repr=False)(cls)


class Value:
    """Base class of all values.

    Attributes:
      word: what the command line and JSON call this kind; empty for a value that has only one kind.
    """

    word: ClassVar[str] = ""

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        """Raises ValueError for the first field that is out of its bounds, or TypeError for one of another type."""
        for field in fields(type(self)):
            check_field(type(self).__name__, field, getattr(self, field.name))

    def __repr__(self) -> str:
        """As one would type it: what is not the default, and always the ball or the radius that comes first."""
        parts = []
        for i, field in enumerate(fields(type(self))):
            here = getattr(self, field.name)
            leads = i == 0 and field.name in ("ball", "epsilon")
            if leads or not _same(here, default_of(field)):
                parts.append(shown(here, field) if leads else f"{field.name}={shown(here, field)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def fields(kind: type) -> list[dataclasses.Field]:
    """The fields of a value's class."""
    return list(dataclasses.fields(kind))


def conversions(kind: type) -> list[dataclasses.Field]:
    """The arguments of a value's class that the value does not keep, such as a unit."""
    every = getattr(kind, "__dataclass_fields__", {}).values()
    return [f for f in every if f._field_type is dataclasses._FIELD_INITVAR and f.metadata]  # type: ignore[attr-defined]


def default_of(field: dataclasses.Field) -> Any:
    """The default of a field."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def kinds_of(field: dataclasses.Field) -> Mapping[str, type[Value]]:
    """The classes that a field may hold, by word; empty for a field that holds no value."""
    kinds = field.metadata.get("kinds") or {}
    return kinds() if callable(kinds) else kinds


def by_word(*kinds: type[Value]) -> dict[str, type[Value]]:
    """word -> class."""
    return {kind.word: kind for kind in kinds}


def shown(value: Any, field: dataclasses.Field | None = None) -> str:
    """The value as one would type it in Python: 8/255 for a length in pixels."""
    if isinstance(value, float) and field is not None and field.metadata.get("pixels") and math.isfinite(value):
        text = fraction_of_255(value)
        return text if number(text) == value else repr(value)
    return repr(value)


def check_field(owner: str, field: dataclasses.Field, value: Any) -> None:
    """Raises unless the value is of the field's type and within its bounds.

    Raises:
      TypeError: of another type, e.g. a text where a number belongs.
      ValueError: out of bounds or not one of the choices.
    """
    name = f"{owner}({field.name}={value!r})"
    kinds = kinds_of(field)
    if kinds:
        if value is None and default_of(field) is None:
            return
        allowed = _family(field, kinds)
        fits = isinstance(value, allowed or Value) if isinstance(value, Value) else callable(value)
        if not fits or isinstance(value, type):
            known = ", ".join(kind.__name__ for kind in kinds.values())
            raise TypeError(f"{name}: expected one of {known}, e.g. {default_of(field) or known}, received {value!r}")
        return
    wanted = _types(field)
    if wanted and not _is(value, wanted):
        words = " or ".join(t.__name__ for t in wanted if t is not types.NoneType)
        hint = _as_number(value) if {int, float} & set(wanted) else ""
        raise TypeError(f"{name}: expected {words} for {field.name}, received {type(value).__name__}{hint}")
    choices = field.metadata.get("choices")
    if choices and value not in choices:
        raise ValueError(f"{name}: expected {field.name} to be one of {', '.join(choices)}, received {value!r}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_bounds(name, field, value)


def _family(field: dataclasses.Field, kinds: Mapping[str, type[Value]]) -> tuple[type[Value], ...]:
    """The base class of all that the field may hold, by its annotation; empty where its kinds share none."""
    options = typing.get_args(field.type) or (field.type,)
    bases = tuple(t for t in options if isinstance(t, type) and issubclass(t, Value))
    return bases if all(issubclass(kind, bases) for kind in kinds.values()) else ()


def _check_bounds(name: str, field: dataclasses.Field, value: float) -> None:
    at_least, above, at_most, below = field.metadata.get("bounds", (None,) * 4)
    words = [
        (f"at least {at_least:g}", value >= at_least) if at_least is not None else None,
        (f"above {above:g}", value > above) if above is not None else None,
        (f"at most {at_most:g}", value <= at_most) if at_most is not None else None,
        (f"below {below:g}", value < below) if below is not None else None,
    ]
    wanted = [word for word in words if word is not None]
    if math.isnan(value) or not all(fits for _, fits in wanted):
        limits = " and ".join(limit for limit, _ in wanted) or "a number"
        raise ValueError(f"{name}: expected {field.name} {limits}, received {value:g}")


def _types(field: dataclasses.Field) -> tuple[type, ...]:
    """The plain types that the annotation allows; empty where it allows anything."""
    annotation = field.type
    if isinstance(annotation, dataclasses.InitVar):
        annotation = annotation.type
    options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    plain = (bool, int, float, str, types.NoneType)
    return tuple(t for t in options if isinstance(t, type)) if all(t in plain or t is None for t in options) else ()


def _as_number(value: Any) -> str:
    """How to write what is nearly a number; "" for anything else."""
    if isinstance(value, str):
        try:
            number(value)
        except ValueError:
            return ""
        return f"; write {value} without quotes"
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        return "; pass it as float(...)"
    return ""


def _is(value: Any, wanted: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in wanted
    if isinstance(value, int):
        return int in wanted or float in wanted
    return isinstance(value, wanted)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean ...?", or all that there are."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"


def word_of(of: Value, kinds: Mapping[str, type[Value]]) -> str:
    """What the command line and JSON call it: its word, or `package.module:Class` where that is not among the kinds."""
    kind = type(of)
    return of.word if kinds.get(of.word) is kind else f"{kind.__module__}:{kind.__qualname__}"


def imported(word: str, name: str) -> type[Value] | None:
    """The class that `package.module:Class` names; None for another word. `name` is that of the setting, for errors."""
    module, colon, attribute = word.partition(":")
    if not colon:
        return None
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot import {word} for {name}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Value)):
        raise ValueError(f"expected a class of settings for {name}, received {word}, which is {kind!r}")
    return kind


def to_dict(of: Any, kinds: Mapping[str, type[Value]] | None = None) -> Any:
    """A value as what JSON can hold; a value of several kinds says its kind."""
    if isinstance(of, Value):
        word = word_of(of, kinds) if kinds else of.word
        inside = {field.name: to_dict(getattr(of, field.name), kinds_of(field)) for field in fields(type(of))}
        return {"kind": word} | inside if word else inside
    if isinstance(of, (tuple, list)):
        return [to_dict(each) for each in of]
    if of is None or isinstance(of, (bool, int, float, str)):
        return of
    raise TypeError(f"expected a value that can be written down, received {of!r}; write a frozen dataclass for it")


def from_dict(kind: type[V], values: Any, kinds: Mapping[str, type[Value]] | None = None) -> V:
    """The value that `to_dict` made.

    Args:
      kind: its class, where there is only one.
      values: a dict.
      kinds: its classes by word, where there are several.

    Raises:
      ValueError: something else, or fields that the class does not have.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"expected the settings of {kind.__name__} as a JSON object, received {values!r}")
    values = dict(values)
    if kinds:
        word = values.pop("kind", None)
        found = kinds.get(word) or imported(str(word), kind.__name__)
        if found is None:
            raise ValueError(f"expected a kind of {kind.__name__}, received {word!r}; {nearest(str(word), kinds)}")
        kind = typing.cast("type[V]", found)
    known = {field.name: field for field in fields(kind)}
    for name in values:
        if name not in known:
            raise ValueError(f"{kind.__name__} has no setting {name!r}; {nearest(name, known)}")
    made: dict[str, Any] = {}
    for name, given in values.items():
        field = known[name]
        nested = kinds_of(field)
        if nested and given is not None:
            made[name] = from_dict(Value, given, nested)
        elif isinstance(field.type, type) and issubclass(field.type, Value):
            made[name] = from_dict(field.type, given)
        else:
            made[name] = tuple(given) if isinstance(given, list) else given
    return kind(**made)
