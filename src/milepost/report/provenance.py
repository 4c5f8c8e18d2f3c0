"""Say how a score came about: what was asked, of which data, with which software, and where it was computed.

A fact that an older results folder lacks is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from milepost.report.formatting import utc_time
from milepost.report.table import Table, cells, columns
from milepost.store.index import NewestRun
from milepost.store.provenance import Provenance
from milepost.store.records import PlanRecord, RunRecord
from milepost.text.language import Phrase, for_reader
from milepost.text.safe_text import printable
from milepost.text.wrapping import padded

_LONGEST = 400


def settings_facts(newest: NewestRun | None) -> tuple[tuple[str, str], ...]:
    """Return names and values of the newest run's settings, without those that are not set."""
    settings = () if newest is None else _settings(newest.run, newest.plan)
    return tuple((name, _text(value)) for name, value in settings if value not in (None, "", {}, (), []))


def tasks_table(newest: NewestRun | None) -> Table:
    """Return version, few-shot examples and data of each task of the newest run."""
    names = ("task", "version", "examples in the prompt", "data")
    return Table(
        columns(*names, left=names, wraps=("task", "data")),
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
        for name, value in origin_facts(origin):
            yield f"  {padded(for_reader(name), 10)} {for_reader(value)}"


def origin_facts(origin: Provenance) -> tuple[tuple[str, str], ...]:
    """Return where a checkpoint's weights lay, and by what its scores were computed."""
    return tuple((name, printable(value)) for name, value in _origin(origin) if value)


def _origin(origin: Provenance) -> Iterator[tuple[str, str]]:
    yield Phrase("source"), origin.source
    yield Phrase("scored at"), ", ".join(place for place in origin.scored_from if place != origin.source)
    yield Phrase("model_id"), origin.model_id
    yield Phrase("numerics"), origin.numerics
    yield Phrase("plan_id"), Phrase("{plan_id} ({n} shards)", plan_id=origin.plan_id, n=origin.n_shards)
    yield Phrase("engine"), ", ".join(origin.engines)
    yield Phrase("device"), ", ".join(origin.devices)
    yield Phrase("versions"), " / ".join(origin.versions)
    first, last = (
        "" if seconds is None else utc_time(seconds) for seconds in (origin.first_scored, origin.last_scored)
    )
    yield Phrase("scored on"), last if first == last else Phrase("{first} to {last}", first=first, last=last)


def _settings(run: RunRecord, plan: PlanRecord) -> Iterator[tuple[str, Any]]:
    asked = plan.asked
    yield Phrase("measured"), None if run.time is None else utc_time(run.time, "%Y-%m-%d %H:%M UTC")
    yield Phrase("checkpoints of"), run.sources
    yield Phrase("tasks asked for"), asked.get("names")
    yield Phrase("examples in the prompt"), asked.get("num_fewshot")
    yield Phrase("docs per task"), asked.get("limit")
    yield Phrase("docs chosen"), asked.get("samples")
    yield Phrase("generation_kwargs changed"), asked.get("gen_kwargs")
    yield Phrase("parameters of tasks"), dict(asked.get("metadata") or ())
    yield Phrase("chat template"), asked.get("apply_chat_template") or None
    yield Phrase("system instruction"), asked.get("system_instruction")
    yield Phrase("seeds"), asked.get("seeds")
    yield Phrase("context, tokens"), plan.max_length or None
    yield Phrase("dtype"), run.dtype
    yield Phrase("device"), run.device
    yield Phrase("versions"), run.versions
    yield Phrase("plan"), run.plan_id


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name} {number}" for name, number in value.items()]
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:g}"
    text = printable(str(value))
    if len(text) <= _LONGEST:
        return text
    return Phrase("{text} … ({n:,} characters)", text=text[:_LONGEST], n=len(text))
