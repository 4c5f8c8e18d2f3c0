"""Several results folders read as one, so that pages show their series side by side; nothing is written.

Records are named by what produced them: one that two folders have is the same record, and it is read where
it lies. Only the names of series can clash. Such series get the names of their folders, as in
`pruned:my-500m`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import merge
from pathlib import Path
from typing import TypeAlias

from milepost.buckets import as_path
from milepost.store import file_state, listing
from milepost.store.current import Current
from milepost.store.folder import ResultsFolder, is_results_folder
from milepost.store.index import ResultsIndex
from milepost.store.live_index import Home, LiveIndex
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import CheckpointRecord, PlanRecord, RunRecord
from milepost.store.task_metrics import TaskMetrics
from milepost.text.folder_names import short_names


class UnitedIndex(ResultsIndex):
    """An index of several folders, of which `refreshed` gives the next.

    Args:
        parts: indexes of the folders; at least one.
    """

    def __init__(self, parts: Sequence[LiveIndex]) -> None:
        self.parts = tuple(parts)
        self._homes = _homes(parts)
        super().__init__(_UnitedFolder(parts[0].folder.path, self.parts, self._homes))
        self._names = {home: name for name, home in self._homes.items()}

    def refreshed(self) -> UnitedIndex:
        """Return the index of the folders as they are now: this one if no record has changed.

        Raises:
            ResultsError: one is no results folder any more.
        """
        parts = tuple(part.refreshed() for part in self.parts)
        same = all(new is old for new, old in zip(parts, self.parts, strict=True))
        return self if same else UnitedIndex(parts)

    @property
    def damaged(self) -> dict[str, str]:
        """Damaged records of all folders, by their places, with the reasons."""
        self.tasks(())
        names = short_names([part.folder.path for part in self.parts])
        return {
            f"{name}/{place}": why
            for name, part in zip(names, self.parts, strict=True)
            for place, why in part.damaged.items()
        }

    def name_of(self, part: LiveIndex, series: str) -> str:
        """Return the name here of a series of one of the folders."""
        return self._names[Home(part, series)]

    def home(self, series: str) -> Home:
        """Return where a series lies."""
        return self._homes[series]

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        of_parts = [[self._renamed(part, run) for run in part.runs] for part in self.parts]
        return tuple(merge(*of_parts, key=lambda run: -(run.time or 0.0)))

    def _renamed(self, part: LiveIndex, run: RunRecord) -> RunRecord:
        return replace(
            run,
            series=tuple(self.name_of(part, series) for series in run.series),
            checkpoints={self.name_of(part, series): own for series, own in run.checkpoints.items()},
        )

    @cached_property
    def _visits(self) -> dict[tuple[str, str], CheckpointRecord]:
        found = (
            replace(visit, series=self.name_of(part, visit.series))
            for part in self.parts
            for visit in part.visits
        )
        return {(visit.series, visit.name): visit for visit in found}

    def plan(self, plan_id: str) -> PlanRecord:
        home = next((part for part in self.parts if plan_id in part.plan_ids), self.parts[0])
        return home.plan(plan_id)

    def has_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> bool:
        return self._homes[checkpoint.series].part.has_metrics(plan_id, self._at_home(checkpoint))

    def metrics_record(self, plan_id: str, checkpoint: CheckpointRecord) -> MetricsRecord:
        return self._homes[checkpoint.series].part.metrics_record(plan_id, self._at_home(checkpoint))

    def _with_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> list[CheckpointRecord]:
        found = self._homes[checkpoint.series].part._with_metrics(plan_id, self._at_home(checkpoint))
        return [replace(record, series=checkpoint.series) for record in found]

    def _task(self, current: Current, choice_metrics: tuple[str, ...]) -> TaskMetrics:
        checkpoint = current.found.checkpoint
        own = current._replace(found=current.found._replace(checkpoint=self._at_home(checkpoint)))
        task = self._homes[checkpoint.series].part._task(own, choice_metrics)
        return replace(task, checkpoint=checkpoint)

    def _at_home(self, checkpoint: CheckpointRecord) -> CheckpointRecord:
        return replace(checkpoint, series=self._homes[checkpoint.series].series)


FolderIndex: TypeAlias = LiveIndex | UnitedIndex
"""What a page shows: one results folder, or several."""


def open_folders(folders: Sequence[Path]) -> FolderIndex:
    """Open results folders to be shown together.

    Args:
        folders: at least one; a folder of results folders, as `milepost compare` makes it, stands for these.

    Raises:
        ResultsError: one of them is no results folder, or of a newer version.
    """
    found = [one for folder in map(as_path, folders) for one in _results_in(folder)]
    parts = [LiveIndex.open(folder) for folder in dict.fromkeys(found)]
    return parts[0] if len(parts) == 1 else UnitedIndex(parts)


def _results_in(folder: Path) -> list[Path]:
    if is_results_folder(folder):
        return [folder]
    return [one for one in listing.folders(folder) if is_results_folder(one)] or [folder]


def _homes(parts: Sequence[LiveIndex]) -> dict[str, Home]:
    """Return the series of all folders by the names that tell them apart."""
    of_parts = [_series(part) for part in parts]
    every = [series for own in of_parts for series in own]
    folders = short_names([part.folder.path for part in parts])
    return {
        series if every.count(series) == 1 else f"{folder}:{series}": Home(part, series)
        for part, folder, own in zip(parts, folders, of_parts, strict=True)
        for series in own
    }


def _series(part: LiveIndex) -> list[str]:
    """Return the series of a folder, also those of which nothing could be used."""
    return list(dict.fromkeys([*part.series, *(visit.series for visit in part.visits)]))


@dataclass(frozen=True, slots=True)
class _UnitedFolder(ResultsFolder):
    """The places of records in several folders: each is looked for in all of them."""

    parts: tuple[LiveIndex, ...] = ()
    homes: Mapping[str, Home] = field(default_factory=dict)

    def plan_path(self, plan_id: str) -> Path:
        return self._where(lambda part: part.plan_path(plan_id))

    def docs_path(self, docs_id: str) -> Path:
        return self._where(lambda part: part.docs_path(docs_id))

    def choices_path(self, docs_id: str) -> Path:
        return self._where(lambda part: part.choices_path(docs_id))

    def score_path(self, model_id: str, numerics: str, shard_id: str) -> Path:
        return self._where(lambda part: part.score_path(model_id, numerics, shard_id))

    def metrics_path(self, plan_id: str, model_id: str, numerics: str) -> Path:
        return self._where(lambda part: part.metrics_path(plan_id, model_id, numerics))

    def doc_metrics_path(self, counted_id: str, model_id: str, numerics: str) -> Path:
        return self._where(lambda part: part.doc_metrics_path(counted_id, model_id, numerics))

    def picks_path(self, plan_id: str, model_id: str, numerics: str) -> Path:
        return self._where(lambda part: part.picks_path(plan_id, model_id, numerics))

    def sparsity_path(self, model_id: str) -> Path:
        return self._where(lambda part: part.sparsity_path(model_id))

    def log_folder(self, series: str, checkpoint: str) -> Path:
        home = self.homes[series]
        return home.part.folder.log_folder(home.series, checkpoint)

    @property
    def curve_cache_path(self) -> Path:
        """A place where nothing is: a folder's own cache is about its own names of series and tasks."""
        return self.store / "training-of-several-folders.json"

    def _where(self, place: Callable[[ResultsFolder], Path]) -> Path:
        places = [place(part.folder) for part in self.parts]
        return next(filter(file_state.exists, places), places[0])
