"""HELM's run entries, from the command line or from a file (`entries: [{description, priority}]`).

Source: helm/benchmark/presentation/run_entry.py and helm/common/object_spec.py (0.5.16).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.errors import TaskError
from milepost.tasks.helm.installation import helm_version
from milepost.text.language import Phrase
from milepost.text.messages import one_line

EXAMPLE = Phrase(
    "for example --helm mmlu:subject=anatomy, or --helm FILE.conf with entries: [{description: ...}]"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One run entry, without a model."""

    description: str
    """As in `mmlu:subject=anatomy`."""
    groups: tuple[str, ...] | None = None
    """HELM's groups that the entry adds its runs to."""


def read_entries(given: Iterable[str]) -> list[Entry]:
    """Return the entries of files (`.conf`, or any path that exists) and of descriptions, each once.

    Raises:
        TaskError: a file cannot be read or parsed, or an entry names a model or is malformed.
        MilepostError: HELM is not installed.
    """
    helm_version()
    found: dict[Entry, None] = {}
    for text in given:
        if text.endswith((".conf", ".hocon")) or Path(text).is_file():
            found |= dict.fromkeys(_read_file(Path(text).expanduser()))
        else:
            found[Entry(_checked(text.strip(), "--helm"))] = None
    if not found:
        raise TaskError("--helm names no entry", EXAMPLE)
    return list(found)


def _read_file(path: Path) -> list[Entry]:
    import pyhocon
    from pyparsing import ParseBaseException

    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            Phrase("{path}: the run entries cannot be read: {error}", path=path, error=error), EXAMPLE
        ) from error
    try:
        raw = pyhocon.ConfigFactory.parse_string(text)
    except ParseBaseException as error:
        raise TaskError(
            Phrase(
                "{path}, line {line}: not HOCON: {text!r}",
                path=path,
                line=error.lineno,
                text=error.line.strip()[:80],
            ),
            EXAMPLE,
        ) from error
    except Exception as error:  # pyhocon raises its own errors and bare ones
        raise TaskError(
            Phrase("{path}: not HOCON: {reason}", path=path, reason=one_line(error)), EXAMPLE
        ) from error
    entries = raw.get("entries", None)
    if not isinstance(entries, list) or not entries:
        raise TaskError(Phrase("{path}: no list named entries", path=path), EXAMPLE)
    return [_entry(item, number, path, text) for number, item in enumerate(entries, start=1)]


def _entry(item: Any, number: int, path: Path, text: str) -> Entry:
    description = item.get("description", None) if hasattr(item, "get") else None
    if not isinstance(description, str):
        values = item.values() if hasattr(item, "values") else [item]
        raise TaskError(
            Phrase(
                "{where}: entry {number} has no description",
                where=_where(next(map(str, values), ""), path, text),
                number=number,
            ),
            EXAMPLE,
        )
    where = _where(description, path, text)
    groups = item.get("groups", None)
    if groups is not None and not isinstance(groups, list):
        raise TaskError(
            Phrase("{where}: the groups of entry {number} are no list", where=where, number=number),
            "for example groups: [mmlu_subset]",
        )
    return Entry(_checked(description.strip(), where), None if groups is None else tuple(map(str, groups)))


def _where(value: str, path: Path, text: str) -> str:
    """Return the file with the line of a value in it."""
    line = text.count("\n", 0, max(0, text.find(value))) + 1
    return Phrase("{path}, line {line}", path=path, line=line)


def _checked(description: str, where: str) -> str:
    """Return the description if it is one of `name` or `name:key=value,...` without a model."""
    name, colon, rest = description.partition(":")
    description = name if colon and not rest else description
    shown = description[:100]
    parts = rest.split(",") if rest else []
    for part in parts:
        if "=" not in part:
            raise TaskError(
                Phrase("{where}: {entry!r}: {part!r} is not key=value", where=where, entry=shown, part=part),
                EXAMPLE,
            )
    if not re.fullmatch(r"\w+", name):
        raise TaskError(
            Phrase("{where}: {entry!r}: {name!r} is not a name", where=where, entry=shown, name=name), EXAMPLE
        )
    model = next((p for p in parts if p.split("=")[0] in ("model", "model_deployment")), None)
    if model is not None:
        raise TaskError(
            Phrase("{where}: {entry!r} names a model", where=where, entry=shown),
            Phrase("leave out {model}: the checkpoints are the models", model=model),
        )
    return description
