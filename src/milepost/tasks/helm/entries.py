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
                "{path}, line {number}: not HOCON: {line!r}",
                path=path,
                number=error.lineno,
                line=error.line.strip()[:80],
            ),
            EXAMPLE,
        ) from error
    except Exception as error:  # pyhocon raises its own errors and bare ones
        raise TaskError(
            Phrase("{path}: not HOCON: {error}", path=path, error=_one_line(error)), EXAMPLE
        ) from error
    entries = raw.get("entries", None)
    if not isinstance(entries, list) or not entries:
        raise TaskError(Phrase("{path}: no list named entries", path=path), EXAMPLE)
    return [_entry(item, path, text) for item in entries]


def _entry(item: Any, path: Path, text: str) -> Entry:
    description = item.get("description", None) if hasattr(item, "get") else None
    if not isinstance(description, str):
        raise TaskError(
            Phrase("{path}: an entry without a description: {item}", path=path, item=str(item)[:80]), EXAMPLE
        )
    where = f"{path}, line {_line_of(description, text)}"
    groups = item.get("groups", None)
    return Entry(_checked(description.strip(), where), None if groups is None else tuple(map(str, groups)))


def _line_of(description: str, text: str) -> int:
    place = text.find(description)
    return text.count("\n", 0, max(0, place)) + 1


def _checked(description: str, where: str) -> str:
    """Return the description if it is one of `name` or `name:key=value,...` without a model."""
    name, colon, rest = description.partition(":")
    description = name if colon and not rest else description
    parts = rest.split(",") if rest else []
    wrong = next((part for part in parts if "=" not in part), None)
    if not re.fullmatch(r"\w+", name) or wrong is not None:
        fault = (
            Phrase("{text!r} is not key=value", text=wrong)
            if wrong is not None
            else Phrase("{text!r} is not a name", text=name)
        )
        raise TaskError(
            Phrase(
                "{where}: {description!r}: {fault}", where=where, description=description[:100], fault=fault
            ),
            EXAMPLE,
        )
    model = next((p for p in parts if p.split("=")[0] in ("model", "model_deployment")), None)
    if model is not None:
        raise TaskError(
            Phrase("{where}: {description!r} names a model", where=where, description=description[:100]),
            Phrase("leave out {model}: the checkpoints are the models", model=model),
        )
    return description


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
