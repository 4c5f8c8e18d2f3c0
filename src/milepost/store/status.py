"""How far the newest run of each series is: from what is stored and who is at work, without any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.store.atomic_files import read_json
from milepost.store.folder import ResultsFolder, open_results
from milepost.store.reading import FAILURE, newest_together, runs_newest_first
from milepost.store.workers import WorkerRecord, live_workers


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """How far one checkpoint is with the newest plan of its series."""

    checkpoint: str
    shards_done: int
    shards: int
    has_figures: bool
    failure: str | None = None
    """Why its last visit failed."""


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """The checkpoints that the newest run of a series was asked for."""

    series: str
    plan_id: str
    command: str | None
    checkpoints: tuple[CheckpointStatus, ...]

    @property
    def n_done(self) -> int:
        return sum(one.has_figures for one in self.checkpoints)


@dataclass(frozen=True, slots=True)
class Status:
    """Who works on a results folder, and how far it is."""

    results: ResultsFolder
    workers: tuple[WorkerRecord, ...]
    series: tuple[SeriesStatus, ...]


def read_status(path: Path) -> Status:
    """The state of the results folder at `path`.

    Raises:
        ResultsError: not a results folder, or a damaged record.
    """
    results = open_results(path)
    return Status(
        results,
        tuple(live_workers(results)),
        tuple(_series(results, series, together) for series, together in _newest_runs(results).items()),
    )


def without_metrics(results: ResultsFolder) -> list[str]:
    """`series/checkpoint` of those that have all scores of their newest plan, and no metrics.

    Raises:
        ResultsError: a damaged record.
    """
    found = []
    for series, together in _newest_runs(results).items():
        for run in reversed(together):
            shards: list[str] | None = None
            for name in run.get("checkpoints", {}).get(series, []):
                path = results.checkpoint_path(series, name)
                record = read_json(path) if path.exists() else {}
                if not record.get("model_id"):
                    continue
                model = record["model_id"], record["numerics"]
                if results.metrics_path(run["plan_id"], *model).exists():
                    continue
                if shards is None:  # of most folders no plan need be read
                    shards = _shards(read_json(results.plan_path(run["plan_id"])))
                if all(results.score_path(*model, shard).exists() for shard in shards):
                    found.append(f"{series}/{name}")
    return found


def _newest_runs(results: ResultsFolder) -> dict[str, list[dict[str, Any]]]:
    """By series, the records of the newest command that asked for it, the newest first."""
    newest: dict[str, list[dict[str, Any]]] = {}
    runs = runs_newest_first(results)
    for i, run in enumerate(runs):
        for series in run["series"]:
            newest.setdefault(series, [one for one in newest_together(runs[i:]) if series in one["series"]])
    return newest


def _series(results: ResultsFolder, series: str, together: Sequence[Mapping[str, Any]]) -> SeriesStatus:
    """Of the records of one command that name the series, the newest first."""
    checkpoints: list[CheckpointStatus] = []
    for run in reversed(together):
        shards = _shards(read_json(results.plan_path(run["plan_id"])))
        names = run.get("checkpoints", {}).get(series, [])
        checkpoints += [_checkpoint(results, series, name, run["plan_id"], shards) for name in names]
    newest = together[0]
    return SeriesStatus(series, newest["plan_id"], newest.get("command"), tuple(checkpoints))


def _shards(plan: Mapping[str, Any]) -> list[str]:
    return [shard[0] for task in plan["tasks"] for shard in task["shards"]]


def _checkpoint(
    results: ResultsFolder, series: str, name: str, plan_id: str, shards: list[str]
) -> CheckpointStatus:
    path = results.checkpoint_path(series, name)
    model = read_json(path) if path.exists() else {}
    failure = model.get(FAILURE)
    if not model.get("model_id"):
        return CheckpointStatus(name, 0, len(shards), False, failure)
    model_id, numerics = model["model_id"], model["numerics"]
    done = sum(results.score_path(model_id, numerics, shard).exists() for shard in shards)
    has_figures = results.metrics_path(plan_id, model_id, numerics).exists()
    return CheckpointStatus(name, done, len(shards), has_figures, failure)
