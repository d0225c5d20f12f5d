"""Records: what a verb leaves on disk, as frozen dataclasses with a version, with one way to write and to read them.

A record is a file of its own. It may hold other frozen dataclasses, NamedTuples, tuples, dicts with texts as keys,
numbers and texts; a part of type `Any` is plain JSON. To add a field, write it into the class with a default. To
remove, rename or redefine one, raise the class's `SCHEMA` as well: a file of another schema is refused, not misread.
"""

import dataclasses
import functools
import json
import math
import os
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

from jeat_tf.core.files import read_json, write_json
from jeat_tf.core.values import nearest

T = TypeVar("T")
R = TypeVar("R", bound="Record")

_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # for which JSON has no words
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@typing.dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass whose fields are given by name."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


@record
class Record:
    """Base class of records that are files of their own.

    Attributes:
      SCHEMA: version of the fields.
      MADE_BY: command that makes such a file, for errors.
    """

    SCHEMA: ClassVar[int] = 1
    MADE_BY: ClassVar[str] = ""


def write_record(path: str, of: Record) -> None:
    """Writes a record as a whole, as JSON with its kind and its schema."""
    write_json(path, {"schema": type(of).SCHEMA, "kind": type(of).__name__} | plain(of))


def read_record(kind: type[R], path: str) -> R:
    """The record in a file.

    Raises:
      ValueError: no such file, no JSON, a record of another kind or schema, or a field that is missing, unknown or of
        another type; the sentence names file and field.
    """
    again = f"make it again with `{kind.MADE_BY}`" if kind.MADE_BY else "make it again"
    found = read_json(path, dict, remedy=again)
    schema, word = found.pop("schema", None), found.pop("kind", None)
    wanted = f"expected {kind.__name__} of schema {kind.SCHEMA} in {path}"
    if schema is None and word is None:
        raise ValueError(f"{wanted}, received a file without schema, as earlier versions of jeat_tf wrote it; {again}")
    if word != kind.__name__:
        raise ValueError(f"{wanted}, received {_shown(word)}; {again}")
    if schema != kind.SCHEMA:
        raise ValueError(
            f"{wanted}, received schema {_shown(schema)}; read it with the version of jeat_tf that wrote it, or {again}"
        )
    try:
        return typed(kind, found)
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}; {again}") from error


def stored(kind: type[R], path: str) -> R | None:
    """The record in a file; None where there is no file.

    Raises:
      ValueError: as `read_record`.
    """
    return read_record(kind, path) if os.path.exists(path) else None


def plain(of: Any) -> Any:
    """A record, or a part of one, as plain JSON values; fields that are None, and None by default, are left out."""
    if dataclasses.is_dataclass(of) and not isinstance(of, type):
        known = {field.name: (getattr(of, field.name), field.default) for field in dataclasses.fields(of)}
        return {name: plain(value) for name, (value, default) in known.items() if not (value is None is default)}
    if isinstance(of, tuple) and hasattr(of, "_asdict"):
        return {name: plain(value) for name, value in of._asdict().items()}
    if isinstance(of, Mapping):
        return {str(name): plain(value) for name, value in of.items()}
    if isinstance(of, (tuple, list)):
        return [plain(value) for value in of]
    if isinstance(of, float) and not math.isfinite(of):
        return str(of)
    if of is None or isinstance(of, (bool, int, float, str)):
        return of
    raise TypeError(f"expected what a record can hold, received {of!r} of type {type(of).__name__}")


def typed(kind: type[T], values: Any, name: str = "") -> T:
    """What `plain` made, as a `kind`.

    Args:
      kind: a type: a frozen dataclass, a NamedTuple, tuple[...], dict[str, ...], a plain type, or a union of such.
      values: from JSON.
      name: of the field that it is, for errors.

    Raises:
      ValueError: something else.
    """
    return typing.cast(T, _typed(kind, values, name))


def _typed(kind: Any, values: Any, name: str) -> Any:
    if kind is Any:
        return values
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _of_union(typing.get_args(kind), values, name)
    if typing.get_origin(kind) is Literal:
        if values not in typing.get_args(kind):
            raise _unlike(" or ".join(map(repr, typing.get_args(kind))), values, name)
        return values
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _of_fields(kind, values, name)
    origin, inside = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (tuple, list):
        if not isinstance(values, list):
            raise _unlike("a list", values, name)
        if origin is list or inside[1:] == (...,):
            return origin(_typed(inside[0], each, f"{name}[{i}]") for i, each in enumerate(values))
        if len(values) != len(inside):
            raise _unlike(f"a list of {len(inside)}", values, name)
        return tuple(_typed(t, each, f"{name}[{i}]") for i, (t, each) in enumerate(zip(inside, values, strict=True)))
    if origin is dict:
        if not isinstance(values, dict):
            raise _unlike("an object", values, name)
        return {key: _typed(inside[1], each, f"{name}.{key}".lstrip(".")) for key, each in values.items()}
    if kind is float and isinstance(values, str) and values in _NUMBERS:
        return _NUMBERS[values]
    if kind is float and type(values) is int:
        return float(values)
    if type(values) is not kind:
        raise _unlike(_WORDS.get(kind, getattr(kind, "__name__", str(kind))), values, name)
    return values


def _of_union(options: tuple[Any, ...], values: Any, name: str) -> Any:
    if values is None and types.NoneType in options:
        return None
    some = [option for option in options if option is not types.NoneType]
    if len(some) == 1:
        return _typed(some[0], values, name)
    for option in some:
        try:
            return _typed(option, values, name)
        except ValueError:
            continue
    raise _unlike(" or ".join(_WORDS.get(option, getattr(option, "__name__", "")) for option in some), values, name)


@functools.cache
def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Type of each field, and whether it has a default."""
    hints = typing.get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        missing = dataclasses.MISSING
        return {
            field.name: (hints[field.name], not field.default is field.default_factory is missing)
            for field in dataclasses.fields(kind)
        }
    return {name: (hints[name], name in kind._field_defaults) for name in kind._fields}


def _of_fields(kind: Callable[..., Any], values: Any, name: str) -> Any:
    if not isinstance(values, dict):
        raise _unlike("an object", values, name)
    known = _fields_of(kind)
    inside = f" in {name}" if name else ""
    if unknown := [key for key in values if key not in known]:
        raise ValueError(f"unknown field {unknown[0]}{inside}; {nearest(unknown[0], known)}")
    if missing := [key for key, (_, optional) in known.items() if key not in values and not optional]:
        raise ValueError(f"expected a field {missing[0]}{inside}, received {', '.join(values) or 'none'}")
    given = {key: _typed(known[key][0], each, f"{name}.{key}".lstrip(".")) for key, each in values.items()}
    return kind(**given)


def _unlike(wanted: str, values: Any, name: str) -> ValueError:
    return ValueError(f"expected {name or 'the record'} to be {wanted}, received {_shown(values)}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
