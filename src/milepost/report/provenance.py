"""Say how a score came about: what was asked, of which data, with which software, and where it was computed.

A fact that an older results folder lacks is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milepost.report.formatting import utc_time
from milepost.report.table import Table, cells, columns
from milepost.safe_text import printable
from milepost.store.index import NewestRun
from milepost.store.provenance import Provenance
from milepost.store.records import PlanRecord, RunRecord

_LONGEST = 400


def settings_facts(newest: NewestRun | None) -> tuple[tuple[str, str], ...]:
    """Return names and values of the newest run's settings, without those that are not set."""
    settings = () if newest is None else _settings(newest.run, newest.plan)
    return tuple((name, _text(value)) for name, value in settings if value not in (None, "", {}, (), []))


def tasks_table(newest: NewestRun | None) -> Table:
    """Return version, few-shot examples and data of each task of the newest run."""
    names = ("task", "version", "examples in the prompt", "data")
    return Table(
        columns(*names, left=names, wraps=("data",)),
        tuple(
            cells(
                [
                    printable(name),
                    _text(task.get("version", "")),
                    _text(task.get("num_fewshot", "")),
                    _text([part for part in task.get("dataset") or [] if part]),
                ]
            )
            for name, task in ({} if newest is None else newest.plan.described).items()
        ),
    )


def origin_lines(origins: Sequence[Provenance]) -> Iterator[str]:
    """Yield a paragraph per checkpoint: where its weights lay, and by what its scores were computed."""
    for origin in origins:
        yield printable(f"{origin.series} {origin.checkpoint}")
        yield from (f"  {name:10} {value}" for name, value in origin_facts(origin))


def origin_facts(origin: Provenance) -> tuple[tuple[str, str], ...]:
    """Return where a checkpoint's weights lay, and by what its scores were computed."""
    return tuple((name, printable(value)) for name, value in _origin(origin) if value)


def _origin(origin: Provenance) -> Iterator[tuple[str, str]]:
    yield "source", origin.source
    yield "scored at", ", ".join(place for place in origin.scored_from if place != origin.source)
    yield "model_id", origin.model_id
    yield "numerics", origin.numerics
    yield "plan_id", f"{origin.plan_id} ({origin.n_shards} shards)"
    yield "engine", ", ".join(origin.engines)
    yield "device", ", ".join(origin.devices)
    yield "versions", " / ".join(origin.versions)
    moments = (utc_time(seconds) for seconds in (origin.first_scored, origin.last_scored) if seconds)
    yield "scored", " to ".join(dict.fromkeys(moments))


def _settings(run: RunRecord, plan: PlanRecord) -> Iterator[tuple[str, Any]]:
    asked = plan.asked
    yield "measured", None if run.time is None else utc_time(run.time, "%Y-%m-%d %H:%M UTC")
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


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name} {number}" for name, number in value.items()]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:g}"
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"
