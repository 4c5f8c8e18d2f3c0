"""Check the entries of a JSON record when it is read, as it may come from a stranger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import NoneType
from typing import Any

from milepost.errors import ResultsError

Json = Mapping[str, Any]
"""An object of JSON whose entries are not known here."""

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}
_REQUIRED = object()


class Entries:
    """The entries of one JSON object; each method returns an entry after a check of its type."""

    def __init__(self, value: Any, what: str = "record") -> None:
        if not isinstance(value, dict):
            raise ResultsError(f"the {what} is not an object")
        self._value: dict[str, Any] = value
        self._what = what

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def get(self, name: str, *kinds: type, default: Any = _REQUIRED) -> Any:
        """Return one entry.

        Raises:
            ResultsError: it is missing and has no default, or is of another type.
        """
        value = self._value.get(name, default)
        if value is _REQUIRED:
            raise ResultsError(f"`{name}` is missing in its {self._what}")
        if value is default or _is_of(value, kinds):
            return value
        named = " or ".join(_NAMES[kind] for kind in kinds)
        raise ResultsError(f"`{name}` of its {self._what} is not {named}")

    def texts(self, name: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """Return an entry that is a list of texts."""
        value = self.get(name, list, default=default)
        if not all(isinstance(item, str) for item in value):
            raise ResultsError(f"`{name}` of its {self._what} is not a list of texts")
        return tuple(value)

    def objects(self, name: str, default: Any = _REQUIRED) -> list[Entries]:
        """Return an entry that is a list of objects."""
        return [Entries(item, f"{name}[{i}]") for i, item in enumerate(self.get(name, list, default=default))]


def _is_of(value: Any, kinds: Collection[type]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(kinds)) or (isinstance(value, int) and float in kinds)
