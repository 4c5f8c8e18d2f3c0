"""Options as dataclass fields: one declaration for the library's argument, the command line and the help."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from milepost.errors import MilepostError
from milepost.text.language import Phrase

KEY = "option"
"""Key of an `Option` in a field's metadata."""


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Name, parsing and help of one option."""

    name: str
    """The library's argument; the command line writes it `--name`, with dashes."""
    help: str
    kind: type = str
    """Type of the value on the command line."""
    is_flag: bool = False
    """True for a flag: the option has no value."""
    short: str | None = None
    """Short form, such as `-t`."""
    metavar: str | None = None
    multiple: bool = False
    """True if the option may be given several times."""
    is_path: bool = False
    negative: bool = False
    """True if there is also `--no-name`."""
    flag_value: str | None = None
    """Value of an option that is given without one."""
    command_default: str | None = None
    """Default on the command line, where the library has none."""
    shows_default: bool = False
    commands: frozenset[str] = frozenset({"run", "watch", "compare"})
    """The commands that have this option."""
    changes_results: bool = True
    """False if no value of the option can change a result or its place; then it is not printed in a command.
    """
    parse: Callable[[Any], Any] = _unchanged
    """Value as a caller or the command line gives it, never None -> value of the field."""
    dump: Callable[[Any], Any] = _unchanged
    """Value of the field -> JSON, which `parse` reads back."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _path(given: str | Path) -> Path:
    return Path(given).expanduser()


_BY_TYPE: Mapping[Any, Mapping[str, Any]] = {
    bool: {"is_flag": True},
    bool | None: {"kind": bool},
    int: {"kind": int},
    int | None: {"kind": int},
    float | None: {"kind": float},
    Path | None: {"is_path": True, "parse": _path, "dump": str},
}
"""Defaults of an option by the type of its field; the declaration overrides them."""


def option(default: Any = MISSING, **described: Any) -> Any:
    """Declare a dataclass field that is an option.

    Args:
        default: of the field.
        described: what differs from the defaults of `Option` and from what the type of the field says.
    """
    return field(default=default, metadata={KEY: described})


@cache
def options_of(*classes: type) -> Mapping[str, tuple[Field[Any], Option]]:
    """Return the options that dataclasses declare, with their fields, by argument name in order."""
    found = {}
    for declaring in classes:
        types = get_type_hints(declaring)
        for declared in fields(declaring):
            if KEY in declared.metadata:
                of_type = _BY_TYPE.get(types[declared.name], {})
                described = {"name": declared.name, **of_type, **declared.metadata[KEY]}
                found[described["name"]] = declared, Option(**described)
    return found


def words_of(described: Option, value: Any) -> Iterator[str]:
    """Yield the words of a command line for one option; `value` is its JSON form."""
    if value is None or (described.is_flag and value is False and not described.negative):
        return
    if described.is_flag:
        yield described.flag if value else f"--no-{described.flag[2:]}"
        return
    if isinstance(value, list):
        yield from (word for part in value for word in (described.flag, str(part)))
        return
    yield described.flag
    if not (described.flag_value and value is True):
        as_text = f"{value:g}" if type(value) is float else str(value)
        yield json.dumps(value) if isinstance(value, dict) else as_text


def json_object(flag: str, example: str) -> Callable[[Any], dict[str, Any]]:
    """Return a parser of mappings, JSON text and JSON files; errors name `flag` and show `example`."""

    def parse(given: Any) -> dict[str, Any]:
        if isinstance(given, Mapping):
            return dict(given)
        text = str(given)
        if not text.lstrip().startswith("{"):
            try:
                text = Path(text).read_text("utf-8")
            except OSError as error:
                raise MilepostError(
                    Phrase("{flag} {given}: {reason}", flag=flag, given=given, reason=error.strerror),
                    "pass JSON or a file with JSON",
                ) from error
        try:
            parsed = json.loads(text)
        except ValueError as error:
            raise MilepostError(
                Phrase("{flag} is not valid JSON: {error}", flag=flag, error=error), example
            ) from error
        if not isinstance(parsed, dict):
            raise MilepostError(Phrase("{flag} is not a JSON object", flag=flag), example)
        return parsed

    return parse
