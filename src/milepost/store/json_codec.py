"""Convert typed records to JSON and back; the types of a record's fields are checked when it is read.

A results folder may come from a stranger, so an entry of another type is refused by its name. Entries that a
record does not know are ignored; those that are empty by default are not written while they are empty.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast

from milepost.errors import ResultsError

T = TypeVar("T")
Convert = Callable[[Any], Any]

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    types.NoneType: "null",
}
_lists: set[type] = set()


def stored_as_list(kind: type[T]) -> type[T]:
    """Mark a NamedTuple as stored as a list of its fields; others are stored as objects."""
    _lists.add(kind)
    return kind


def decode(kind: type[T], value: object) -> T:
    """Return a dataclass or NamedTuple from its JSON.

    Raises:
        ResultsError: an entry is missing or of another type; the message names it.
    """
    found: T = _converter(cast("Hashable", kind))(value)
    return found


def encode(value: Any) -> Any:
    """Return the JSON of a record."""
    if dataclasses.is_dataclass(value):
        fields = {field.metadata.get("json", field.name): field for field in dataclasses.fields(value)}
        entries = {name: (getattr(value, field.name), _default(field)) for name, field in fields.items()}
    elif hasattr(value, "_fields") and type(value) not in _lists:
        defaults = value._field_defaults
        entries = {name: (getattr(value, name), defaults.get(name, _NONE)) for name in value._fields}
    elif isinstance(value, Mapping):
        return {key: encode(own) for key, own in value.items()}
    else:
        return [encode(own) for own in value] if isinstance(value, tuple | list) else value
    return {name: encode(own) for name, (own, default) in entries.items() if not _is_left_out(own, default)}


_NONE = dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is _NONE else field.default_factory()


def _is_left_out(value: Any, default: Any) -> bool:
    """Return whether an entry is not written: it is its default, and that is nothing."""
    return value == default and (value is None or value is False or value in ((), {}))


@cache
def _converter(hint: Any) -> Convert:
    """Return the function that checks and converts a value of a type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda value: value
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is Literal:
        return _one_of(arguments)
    if origin in (tuple, list) and (origin is list or arguments[-1] is Ellipsis):
        return _sequence(arguments[0], origin)
    if origin is tuple:
        return _pair(arguments)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1])
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        return _Record(hint)
    return _Plain((hint,))


class _Plain:
    """Checks a value that stays as it is."""

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.allowed = frozenset({*kinds, int} if float in kinds else kinds)
        self._named = " or ".join(_NAMES[kind] for kind in kinds)

    def __call__(self, value: Any) -> Any:
        if type(value) not in self.allowed:
            raise _Wrong(f"is not {self._named}")
        return value


def _union(arguments: tuple[Any, ...]) -> Convert:
    if all(argument in _NAMES for argument in arguments):
        return _Plain(arguments)
    (other,) = (argument for argument in arguments if argument is not types.NoneType)
    inner = _converter(other)
    return lambda value: None if value is None else inner(value)


def _one_of(options: tuple[Any, ...]) -> Convert:
    def convert(value: Any) -> Any:
        if value not in options:
            raise _Wrong(f"is not {' or '.join(map(str, options))}")
        return value

    return convert


def _sequence(of: Any, kind: type) -> Convert:
    inner = _converter(of)

    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Wrong("is not a list")
        if isinstance(inner, _Plain) and inner.allowed.issuperset(map(type, value)):
            return kind(value)
        return kind([_at(i, inner, item) for i, item in enumerate(value)])

    return convert


def _pair(kinds: tuple[Any, ...]) -> Convert:
    converters = [_converter(kind) for kind in kinds]

    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(converters):
            raise _Wrong(f"is not a list of {len(converters)}")
        return tuple(_at(i, inner, value[i]) for i, inner in enumerate(converters))

    return convert


def _mapping(of: Any) -> Convert:
    inner = None if of is Any else _converter(of)

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _Wrong("is not an object")
        return value if inner is None else {key: _at(key, inner, own) for key, own in value.items()}

    return convert


class _Record:
    """Converts an object to a dataclass or NamedTuple.

    Most of thousands of rows have the same types, so what to do with these types is found once.
    """

    def __init__(self, kind: Any) -> None:
        hints = typing.get_type_hints(kind)
        if dataclasses.is_dataclass(kind):
            fields = {field.name: field for field in dataclasses.fields(kind)}
            self._entries = [field.metadata.get("json", name) for name, field in fields.items()]
            self._defaults = [_default(field) for field in fields.values()]
            self._make: Convert = lambda own: cast("Any", kind)(**dict(zip(fields, own, strict=True)))
        else:
            self._entries = list(kind._fields)
            self._defaults = [kind._field_defaults.get(name, _NONE) for name in kind._fields]
            self._make = kind._make
        self._converters = [_converter(hint) for hint in hints.values()]
        self._is_list = kind in _lists
        self._known: dict[tuple[type, ...], tuple[list[tuple[int, Any]], list[int]]] = {}
        """Types of the entries to the defaults of those that are missing, and those to convert."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list) and self._is_list:
            own = value + [_NONE] * (len(self._entries) - len(value))
        elif isinstance(value, dict):
            own = [value.get(entry, _NONE) for entry in self._entries]
        else:
            raise _Wrong("is not an object")
        types_of = tuple(map(type, own))
        known = self._known.get(types_of) or self._look(types_of)
        for place, default in known[0]:
            own[place] = default
        for place in known[1]:
            own[place] = _at(self._entries[place], self._converters[place], own[place])
        return self._make(own)

    def _look(self, types_of: tuple[type, ...]) -> tuple[list[tuple[int, Any]], list[int]]:
        missing, others = [], []
        for place, converter in enumerate(self._converters):
            if types_of[place] is type(_NONE):
                if self._defaults[place] is _NONE:
                    raise _Wrong("is missing").under(self._entries[place])
                missing.append((place, self._defaults[place]))
            elif not isinstance(converter, _Plain) or types_of[place] not in converter.allowed:
                others.append(place)
        self._known[types_of] = missing, others
        return missing, others


def _at(place: int | str, inner: Convert, value: Any) -> Any:
    try:
        return inner(value)
    except _Wrong as error:
        raise error.under(str(place)) from None


class _Wrong(ResultsError):
    """An entry of another type, with the way to it."""

    def __init__(self, what: str, way: tuple[str, ...] = ()) -> None:
        named = f"its entry `{'.'.join(way)}`" if way else "it"
        super().__init__(f"{named} {what}")
        self._what, self._way = what, way

    def under(self, entry: str) -> _Wrong:
        """Return the error as of an entry of an outer object."""
        return _Wrong(self._what, (entry, *self._way))
