"""Where the current figures of each checkpoint come from: which weights, questions, software, when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.store.atomic_files import read_json
from milepost.store.folder import ResultsFolder, open_results
from milepost.store.reading import current_records
from milepost.store.tables import read_made


@dataclass(frozen=True, slots=True)
class Provenance:
    """One checkpoint's origin. What several shards differ in is told of each."""

    series: str
    checkpoint: str
    step: int | None
    source: str
    """Where the weights were at the last visit."""
    scored_from: tuple[str, ...]
    """Where they were when they were scored: another place if two names stand for the same weights."""
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


def read_provenance(path: Path) -> list[Provenance]:
    """The origin of each checkpoint's newest figures, ordered as they are shown.

    Raises:
        ResultsError: not a results folder, or a damaged record.
    """
    results = open_results(path)
    shards: dict[str, list[str]] = {}
    found = []
    for plan_id, record in current_records(results):
        if plan_id not in shards:
            plan = read_json(results.plan_path(plan_id))
            shards[plan_id] = [shard[0] for task in plan["tasks"] for shard in task.get("shards", ())]
        found.append(_provenance(results, plan_id, record, shards[plan_id]))
    return found


def _provenance(
    results: ResultsFolder, plan_id: str, record: dict[str, Any], shards: list[str]
) -> Provenance:
    model_id, numerics = record["model_id"], record["numerics"]
    made = [read_made(results.score_path(model_id, numerics, shard)) for shard in shards]
    times = [one["time"] for one in made if "time" in one]
    return Provenance(
        series=record["series"],
        checkpoint=record["checkpoint"],
        step=record["step"],
        source=record["source"],
        scored_from=_different(one.get("source") for one in made),
        model_id=model_id,
        numerics=numerics,
        plan_id=plan_id,
        engines=_different(one.get("engine") for one in made),
        devices=_different(one.get("device") for one in made),
        versions=_different(_spelt(one.get("versions")) for one in made),
        first_scored=min(times, default=None),
        last_scored=max(times, default=None),
        n_shards=len(shards),
    )


def _different(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _spelt(versions: dict[str, str] | None) -> str | None:
    return None if versions is None else ", ".join(f"{name} {number}" for name, number in versions.items())
