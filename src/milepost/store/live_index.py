"""An index of a results folder that others write to: looked at again and again, it reads only what is new.

Damaged records are left out and named in `damaged`, so that a reader sees the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from milepost.buckets import as_path
from milepost.errors import ResultsError
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.current import Current
from milepost.store.curve_cache import RECORDS
from milepost.store.folder import ResultsFolder, open_folder
from milepost.store.index import ResultsIndex
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import CheckpointRecord, PlanRecord, Record, RunRecord, read_record
from milepost.store.task_metrics import TaskMetrics, without_choices


@dataclass(slots=True)
class _Reader:
    """Records that were read before, with the states of their files."""

    known: dict[Path, tuple[file_state.Version | None, Any]] = field(default_factory=dict)

    def read(self, kind: type[Record], path: Path) -> Record:
        """Return a record. Raises: ResultsError where it is missing or damaged, each time anew."""
        state = _state(path)
        if path not in self.known or state is None or self.known[path][0] != state:
            try:
                found: Any = read_record(kind, path)
            except ResultsError as error:
                found = error
            self.known[path] = state, found
        found = self.known[path][1]
        if isinstance(found, ResultsError):
            raise found
        record: Record = found
        return record


class Home(NamedTuple):
    """A folder that a series lies in, and its name there."""

    part: ResultsIndex
    series: str

    def named(self, checkpoint: CheckpointRecord) -> CheckpointRecord:
        """Return the record of a checkpoint with the series' name in this folder."""
        return replace(checkpoint, series=self.series)


class LiveIndex(ResultsIndex):
    """An index that leaves out damaged records, and of which `refreshed` gives the next."""

    def __init__(self, folder: ResultsFolder, *, before: LiveIndex | None = None) -> None:
        super().__init__(folder)
        self._reader: _Reader = _Reader() if before is None else before._reader
        self._states = record_states(folder)
        self._damaged: dict[Path, str] = {}

    @classmethod
    def open(cls, path: str | Path) -> LiveIndex:
        """Open the results folder at `path`. Raises: ResultsError if it is not one."""
        return cls(open_folder(as_path(path)))

    def refreshed(self) -> LiveIndex:
        """Return the index of the folder as it is now: this one if no record has changed.

        Raises:
            ResultsError: it is no results folder any more.
        """
        folder = open_folder(self.folder.path)
        return self if record_states(folder) == self._states else LiveIndex(folder, before=self)

    @property
    def parts(self) -> tuple[LiveIndex, ...]:
        """The folders that are shown together: this one alone."""
        return (self,)

    def home(self, checkpoint: CheckpointRecord) -> Home:
        """Return where a checkpoint's metrics lie."""
        return Home(self, checkpoint.series)

    @property
    def damaged(self) -> dict[str, str]:
        """Damaged records, by their places in the folder, with the reasons."""
        self.tasks(())
        damaged = sorted(self._damaged.items())
        return {path.relative_to(self.folder.path).as_posix(): why for path, why in damaged}

    def _read(self, kind: type[Record], path: Path) -> Record:
        try:
            return self._reader.read(kind, path)
        except ResultsError as error:
            self._damaged[path] = error.message.removeprefix(f"cannot read {path}: ")
            raise

    def _read_all(self, kind: type[Record], paths: Iterable[Path]) -> list[Record]:
        found = []
        paths = list(paths)
        inside.bring(paths)
        for path in paths:
            try:
                found.append(self._read(kind, path))
            except ResultsError:
                continue
        return found

    def _is_readable(self, kind: type[Any], path: Path) -> bool:
        return bool(self._read_all(kind, [path]))

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs whose records and plans are intact, the newest first."""
        found = self._read_all(RunRecord, reversed(self.folder.run_paths()))
        plans = {run.plan_id: self.folder.plan_path(run.plan_id) for run in found}
        intact = {plan_id for plan_id, path in plans.items() if self._is_readable(PlanRecord, path)}
        return tuple(run for run in found if run.plan_id in intact)

    def has_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> bool:
        path = self.folder.metrics_path(plan_id, *checkpoint.model)
        return super().has_metrics(plan_id, checkpoint) and self._is_readable(MetricsRecord, path)

    def _with_metrics(self, plan_id: str, checkpoint: CheckpointRecord) -> list[CheckpointRecord]:
        found = super()._with_metrics(plan_id, checkpoint)
        return [record for record in found if self.has_metrics(plan_id, record)]

    def _task(self, current: Current, choice_metrics: tuple[str, ...]) -> TaskMetrics:
        try:
            return super()._task(current, choice_metrics)
        except ResultsError as error:
            found = current.found
            path = self.folder.metrics_path(found.plan_id, *found.checkpoint.model)
            self._damaged[path] = error.message.removeprefix(f"cannot read {path}: ")
            return without_choices(current)


def record_states(folder: ResultsFolder) -> dict[Path, file_state.Version | None]:
    """Return the states of the files that decide which metrics there are.

    Raises:
        ResultsError: a link leads out of the folder.
    """
    return {
        path: _state(path)
        for kind in RECORDS
        for path in listing.files_below(folder.folder_of(kind), "*.json")
    }


def _state(path: Path) -> file_state.Version | None:
    try:
        return file_state.version_of(path)
    except OSError:
        return None
