"""Several results folders read as one, so that pages show their series side by side; nothing is written.

Records are named by what produced them: one that two folders have is the same record, and it is read where
it lies. So a training run whose tasks, or checkpoints, are spread over folders is one series. Series that
have nothing but the name in common get the names of their folders, as in `pruned:my-500m`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from heapq import merge
from pathlib import Path
from typing import TypeAlias, TypeVar

from milepost.buckets import as_path
from milepost.store import file_state, listing
from milepost.store.current import Current
from milepost.store.folder import ResultsFolder, is_results_folder
from milepost.store.index import ResultsIndex
from milepost.store.live_index import Home, LiveIndex
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import CheckpointRecord, PlanRecord, RunRecord
from milepost.store.series import place_of
from milepost.store.task_metrics import TaskMetrics
from milepost.text.folder_names import short_names

Number = TypeVar("Number", int, float)


class UnitedIndex(ResultsIndex):
    """An index of several folders.

    Args:
        members: indexes of the folders; at least one.
    """

    def __init__(self, members: Sequence[ResultsIndex]) -> None:
        self._members = tuple(members)
        self._homes = _homes(members)
        super().__init__(_UnitedFolder(members[0].folder.path, self._members, self._homes))
        self._names = {home: name for name, homes in self._homes.items() for home in homes}

    def name_of(self, part: ResultsIndex, series: str) -> str:
        """Return the name here of a series of one of the folders."""
        return self._names[Home(part, series)]

    def home(self, checkpoint: CheckpointRecord) -> Home:
        """Return where a checkpoint's metrics lie; of several folders, the first."""
        homes = self._homes[checkpoint.series]
        place = checkpoint.name
        return next((home for home in homes if (home.series, place) in home.part.scored), homes[0])

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        of_parts = [[self._renamed(part, run) for run in part.runs] for part in self._members]
        return tuple(merge(*of_parts, key=lambda run: -(run.time or 0.0)))

    def _renamed(self, part: ResultsIndex, run: RunRecord) -> RunRecord:
        return replace(
            run,
            series=tuple(self.name_of(part, series) for series in run.series),
            checkpoints={self.name_of(part, series): own for series, own in run.checkpoints.items()},
        )

    @cached_property
    def _visits(self) -> dict[tuple[str, str], CheckpointRecord]:
        found: dict[tuple[str, str], CheckpointRecord] = {}
        for part in self._members:
            for visit in part.visits:
                own = replace(visit, series=self.name_of(part, visit.series))
                known = found.get((own.series, own.name))
                found[own.series, own.name] = own if known is None else _one_visit(known, own)
        return found

    def plan(self, plan_id: str) -> PlanRecord:
        home = next((part for part in self._members if plan_id in part.plan_ids), self._members[0])
        return home.plan(plan_id)

    def has_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> bool:
        homes = self._homes[checkpoint.series]
        return any(home.part.has_metrics(plan_id, home.named(checkpoint)) for home in homes)

    def metrics_record(self, plan_id: str, checkpoint: CheckpointRecord) -> MetricsRecord:
        home = self._home_with(plan_id, checkpoint)
        return home.part.metrics_record(plan_id, home.named(checkpoint))

    def _home_with(self, plan_id: str, checkpoint: CheckpointRecord) -> Home:
        """Return the folder that has a checkpoint's metrics under a plan; the first if none has."""
        homes = self._homes[checkpoint.series]
        if len(homes) == 1:
            return homes[0]
        found = (home for home in homes if home.part.has_metrics(plan_id, home.named(checkpoint)))
        return next(found, homes[0])

    def _with_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> list[CheckpointRecord]:
        by_numerics: dict[str | None, CheckpointRecord] = {}
        for home in self._homes[checkpoint.series]:
            for record in home.part._with_metrics(plan_id, home.named(checkpoint)):
                by_numerics.setdefault(record.numerics, replace(record, series=checkpoint.series))
        return list(by_numerics.values())

    def _task(self, current: Current, choice_metrics: tuple[str, ...]) -> TaskMetrics:
        checkpoint = current.found.checkpoint
        home = self._home_with(current.found.plan_id, checkpoint)
        own = current._replace(found=current.found._replace(checkpoint=home.named(checkpoint)))
        return replace(home.part._task(own, choice_metrics), checkpoint=checkpoint)


class LiveUnitedIndex(UnitedIndex):
    """An index of several folders that leaves out damaged records, and of which `refreshed` gives the next.

    Args:
        parts: indexes of the folders; at least one.
    """

    def __init__(self, parts: Sequence[LiveIndex]) -> None:
        super().__init__(parts)
        self.parts = tuple(parts)

    def refreshed(self) -> LiveUnitedIndex:
        """Return the index of the folders as they are now: this one if no record has changed.

        Raises:
            ResultsError: one is no results folder any more.
        """
        parts = tuple(part.refreshed() for part in self.parts)
        same = all(new is old for new, old in zip(parts, self.parts, strict=True))
        return self if same else LiveUnitedIndex(parts)

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


FolderIndex: TypeAlias = LiveIndex | LiveUnitedIndex
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
    return parts[0] if len(parts) == 1 else LiveUnitedIndex(parts)


def _results_in(folder: Path) -> list[Path]:
    if is_results_folder(folder):
        return [folder]
    return [one for one in listing.folders(folder) if is_results_folder(one)] or [folder]


def _homes(parts: Sequence[ResultsIndex]) -> dict[str, tuple[Home, ...]]:
    """Return the series of all folders by the names that tell them apart, each with its folders."""
    groups: dict[str, list[list[Home]]] = {}
    for part in parts:
        for series in _series(part):
            home = Home(part, series)
            own = groups.setdefault(series, [])
            group = next((group for group in own if _belongs_to(home, group)), None)
            if group is None:
                own.append([home])
            else:
                group.append(home)
    folder_of = dict(zip(parts, short_names([part.folder.path for part in parts]), strict=True))
    return {
        series if len(own) == 1 else f"{folder_of[group[0].part]}:{series}": tuple(group)
        for series, own in groups.items()
        for group in own
    }


def _one_visit(one: CheckpointRecord, other: CheckpointRecord) -> CheckpointRecord:
    """Return two folders' visits of a checkpoint as one, with the work of both."""
    return replace(
        other if other.model_id and not one.model_id else one,
        failure=one.failure or other.failure,
        scoring_s=_of_known(sum, one.scoring_s, other.scoring_s),
        peak_memory=_of_known(max, one.peak_memory, other.peak_memory),
        peak_gpu_memory=_of_known(max, one.peak_gpu_memory, other.peak_gpu_memory),
    )


def _of_known(join: Callable[[list[Number]], Number], *values: Number | None) -> Number | None:
    known = [value for value in values if value is not None]
    return join(known) if known else None


def _belongs_to(home: Home, group: Sequence[Home]) -> bool:
    """Return whether a series is the training run of a group: with some of it, and in conflict with none."""
    found = [_are_one(home, other) for other in group]
    return True in found and False not in found


def _are_one(one: Home, other: Home) -> bool | None:
    """Return whether two series of the same name are one training run; None if nothing says so.

    They are if checkpoints of the same name are the same models. Without such checkpoints they are if both
    come from the same place.
    """
    visits, others = ({each.name: each for each in home.part.visits_of(home.series)} for home in (one, other))
    models = [
        (visits[name].model_id, others[name].model_id)
        for name in visits.keys() & others.keys()
        if visits[name].model_id and others[name].model_id
    ]
    if models:
        return all(own == its for own, its in models)
    places, its_places = (
        {place_of(each, each.source) for each in own.values() if each.source} for own in (visits, others)
    )
    return True if places & its_places else None


def _series(part: ResultsIndex) -> list[str]:
    """Return the series of a folder, also those of which nothing could be used."""
    return list(dict.fromkeys([*part.series, *(visit.series for visit in part.visits)]))


@dataclass(frozen=True, slots=True)
class _UnitedFolder(ResultsFolder):
    """The places of records in several folders: each is looked for in all of them."""

    parts: tuple[ResultsIndex, ...] = ()
    homes: Mapping[str, Sequence[Home]] = field(default_factory=dict)

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

    def log_folders(self, series: str, checkpoint: str) -> list[Path]:
        return [home.part.folder.log_folder(home.series, checkpoint) for home in self.homes[series]]

    @property
    def curve_cache_path(self) -> Path:
        """A place where nothing is: a folder's own cache is about its own names of series and tasks."""
        return self.store / "training-of-several-folders.json"

    def _where(self, place: Callable[[ResultsFolder], Path]) -> Path:
        places = [place(part.folder) for part in self.parts]
        return next(filter(file_state.exists, places), places[0])
