"""Trace the current metrics of each checkpoint to their origin: weights, questions, software, time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from milepost.store.folder import ResultsFolder
from milepost.store.index import ResultsIndex
from milepost.store.records import CheckpointRecord
from milepost.store.tables import read_made


@dataclass(frozen=True, slots=True)
class Provenance:
    """One checkpoint's origin. Where its shards differ, every value is listed."""

    series: str
    checkpoint: str
    step: int | None
    source: str
    """Address of the weights at the last visit."""
    scored_from: tuple[str, ...]
    """Address of the weights when they were scored: another one if two names stand for the same weights."""
    model_id: str
    numerics: str
    plan_id: str
    engines: tuple[str, ...]
    devices: tuple[str, ...]
    versions: tuple[str, ...]
    first_scored: float | None
    """Seconds since 1970; None where a record does not say."""
    last_scored: float | None
    n_shards: int


def read_provenance(index: ResultsIndex, *, only: str | None = None) -> list[Provenance]:
    """Return the origin of each checkpoint's current metrics, plan after plan.

    Args:
        only: `series/checkpoint`; None for all.

    Raises:
        ResultsError: a damaged record.
    """
    return [
        _provenance(index.folder, plan_id, checkpoint, index.plan(plan_id).shard_ids)
        for plan_id, checkpoint in index.current_plans()
        if only in (None, checkpoint.full_name)
    ]


def _provenance(
    results: ResultsFolder, plan_id: str, checkpoint: CheckpointRecord, shard_ids: list[str]
) -> Provenance:
    model_id, numerics = checkpoint.model
    notes = [read_made(results.score_path(model_id, numerics, shard_id)) for shard_id in shard_ids]
    times = [note["time"] for note in notes if "time" in note]
    return Provenance(
        series=checkpoint.series,
        checkpoint=checkpoint.name,
        step=checkpoint.step,
        source=checkpoint.source or "",
        scored_from=_different(note.get("source") for note in notes),
        model_id=model_id,
        numerics=numerics,
        plan_id=plan_id,
        engines=_different(note.get("engine") for note in notes),
        devices=_different(note.get("device") for note in notes),
        versions=_different(_spelt(note.get("versions")) for note in notes),
        first_scored=min(times, default=None),
        last_scored=max(times, default=None),
        n_shards=len(shard_ids),
    )


def _different(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _spelt(versions: dict[str, str] | None) -> str | None:
    return None if versions is None else ", ".join(f"{name} {number}" for name, number in versions.items())
