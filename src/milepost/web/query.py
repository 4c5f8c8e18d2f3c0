"""The parameters of an address as typed values; whatever is wrong with one is said in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

from milepost.errors import MilepostError
from milepost.text.language import Phrase

LONGEST = 2000
"""Characters of one parameter."""


class BadQuery(MilepostError):
    """A parameter of the address cannot be understood."""


@dataclass(frozen=True, slots=True)
class Query:
    """The wishes of a page's reader; names that a page does not know are ignored."""

    given: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.given.items():
            if any(len(value) > LONGEST for value in values):
                raise BadQuery(Phrase("{name} is longer than {n} characters", name=name[:40], n=LONGEST))

    @property
    def key(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The same as a value that is equal for equal queries."""
        return tuple((name, tuple(values)) for name, values in self.given.items())

    def text(self, name: str, default: str = "") -> str:
        """Return the last value of a name."""
        values = self.given.get(name, ())
        return values[-1] if values else default

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a name that is repeated (`?task=a&task=b`), without empty ones."""
        return tuple(value for value in self.given.get(name, ()) if value)

    def flag(self, name: str) -> bool:
        """Return whether a name is switched on: 1, true, yes, on.

        Raises:
            BadQuery: it is neither that nor 0, false, no, off or nothing.
        """
        value = self.text(name).lower()
        if value in ("1", "true", "yes", "on"):
            return True
        if value in ("", "0", "false", "no", "off"):
            return False
        raise BadQuery(Phrase("{name} must be 1 or 0", name=name))

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number.

        Raises:
            BadQuery: it is none, or out of its range.
        """
        value = self.text(name)
        if not value:
            return default
        if not (value.isascii() and value.removeprefix("-").isdecimal()) or not low <= int(value) <= high:
            raise BadQuery(
                Phrase("{name} must be a whole number from {low} to {high}", name=name, low=low, high=high)
            )
        return int(value)

    def choice(self, name: str, values: Sequence[str], default: str) -> str:
        """Return one of some values.

        Raises:
            BadQuery: it is none of them.
        """
        value = self.text(name) or default
        if value not in values:
            raise BadQuery(
                Phrase("{name} cannot be {value}", name=name, value=repr(value[:40])),
                Phrase("one of: {names}", names=", ".join(values)),
            )
        return value

    def having(self, **changes: object) -> str:
        """Return the query as part of an address, with some values changed; None leaves one out."""
        kept = [(name, value) for name, own in self.given.items() if name not in changes for value in own]
        new = [(name, str(value)) for name, value in changes.items() if value is not None]
        return "?" + urlencode(kept + new)
