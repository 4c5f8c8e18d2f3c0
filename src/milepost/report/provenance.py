"""How a score came about, as lines for people: what was asked, of which data, with which software.

A fact that an older results folder lacks is left out.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from milepost.safe_text import printable
from milepost.store.index import NewestRun
from milepost.store.records import PlanRecord, RunRecord

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


def facts(newest: NewestRun | None) -> list[Fact]:
    """Return the settings of the newest run, without those left at "not set"."""
    named = () if newest is None else _named(newest.run, newest.plan)
    return [Fact(name, _text(value)) for name, value in named if value not in (None, "", {}, (), [])]


def asked_tasks(newest: NewestRun | None) -> list[AskedTask]:
    """Return the tasks of the newest run, in their order."""
    tasks = {} if newest is None else newest.plan.described
    return [
        AskedTask(
            printable(name),
            _text(task.get("version", "")),
            _text(task.get("num_fewshot", "")),
            _text([part for part in task.get("dataset") or [] if part]),
        )
        for name, task in tasks.items()
    ]


def _named(run: RunRecord, plan: PlanRecord) -> Iterator[tuple[str, Any]]:
    asked = plan.asked
    yield "measured", _moment(run.time)
    yield "checkpoints of", run.sources
    yield "tasks asked for", asked.get("names")
    yield "examples in the prompt", asked.get("num_fewshot")
    yield "docs per task", asked.get("limit")
    yield "docs chosen", asked.get("samples")
    yield "generation_kwargs changed", asked.get("gen_kwargs")
    yield "parameters of tasks", dict(asked.get("metadata") or ())
    yield "chat template", asked.get("apply_chat_template") or None
    yield "system instruction", asked.get("system_instruction")
    yield "seeds", asked.get("seeds")
    yield "context, tokens", plan.max_length or None
    yield "dtype", run.dtype
    yield "device", run.device
    yield "versions", run.versions
    yield "plan", run.plan_id


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
