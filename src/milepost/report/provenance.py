"""How a score came about, as lines for people: what was asked, of which data, with which software.

Reads what `store.read_settings` returns; a fact that an older results folder lacks is left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from milepost.safe_text import printable

_LONGEST = 400


class Fact(NamedTuple):
    """A name and a value, ready to print."""

    name: str
    value: str


class AskedTask(NamedTuple):
    """What the harness says of one task: its version, examples in the prompt and data."""

    name: str
    version: str
    num_fewshot: str
    dataset: str


def facts(settings: Mapping[str, Any]) -> list[Fact]:
    """The settings of the newest run, without those left at "not set"."""
    return [Fact(name, _text(value)) for name, value in _named(settings) if value not in (None, "", {}, [])]


def asked_tasks(settings: Mapping[str, Any]) -> list[AskedTask]:
    """The tasks of the newest run, in their order."""
    tasks = _within(settings, "plan", "settings", "tasks")
    return [
        AskedTask(
            printable(name),
            _text(task.get("version", "")),
            _text(task.get("num_fewshot", "")),
            _text([part for part in task.get("dataset") or [] if part]),
        )
        for name, task in tasks.items()
    ]


def _named(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    asked = _within(settings, "plan", "settings", "asked")
    yield "measured", _moment(settings.get("time"))
    yield "checkpoints of", settings.get("sources")
    yield "tasks asked for", asked.get("names")
    yield "examples in the prompt", asked.get("num_fewshot")
    yield "docs per task", asked.get("limit")
    yield "docs chosen", asked.get("samples")
    yield "generation_kwargs changed", asked.get("gen_kwargs")
    yield "parameters of tasks", dict(asked.get("metadata") or ())
    yield "chat template", asked.get("apply_chat_template") or None
    yield "system instruction", asked.get("system_instruction")
    yield "seeds", asked.get("seeds")
    yield "context, tokens", _within(settings, "plan").get("max_length")
    yield "dtype", settings.get("dtype")
    yield "device", settings.get("device")
    yield "versions", settings.get("versions")
    yield "plan", settings.get("plan_id")


def _within(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        settings = settings.get(name) or {}
    return settings


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name} {number}" for name, number in value.items()]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:g}"
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"
