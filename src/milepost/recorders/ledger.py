"""Remember in the results folder which metrics were recorded, so that none is recorded twice.

    store/recorded/<recorder>/<run>.json    the run's id, and for each checkpoint the model and its tasks

An entry is written right after the recorder accepted the metrics. Its key is checkpoint, model, numerics,
task and setting: an overwritten checkpoint, or a task with other settings, is recorded again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from milepost.store import ResultsFolder, file_state
from milepost.store.atomic_files import is_intact, read_json, write_json

IGNORED_SETTINGS = ("names", "suite", "include_path", "allow_task_code")
"""Settings that do not separate runs: more tasks of the same series go into the same run."""


class RecordedCheckpoint(TypedDict):
    """The entry of a checkpoint."""

    model: str
    """Model id and numerics."""
    tasks: dict[str, str]
    """Task to setting."""


@dataclass(slots=True)
class Ledger:
    """The recorded metrics of one run of one recorder."""

    path: Path
    run_id: str
    recorded: dict[str, RecordedCheckpoint] = field(default_factory=dict)
    """Entries by name of the checkpoint."""
    tables: str = ""
    """Hash of the last final tables."""

    @classmethod
    def open(cls, results: ResultsFolder, recorder: str, run: Mapping[str, Any]) -> Ledger:
        """Open the ledger of a run (project, series and settings), or start a new one.

        Raises:
            ResultsError: the ledger is damaged.
        """
        digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
        path = results.recorded_path(recorder, str(run["series"]), digest)
        if not file_state.exists(path):
            return cls(path, secrets.token_hex(4))
        kept = read_json(path)
        return cls(path, kept["run_id"], kept["recorded"], kept["tables"])

    def missing_tasks(self, checkpoint: str, model: str, settings: Mapping[str, str]) -> set[str]:
        """Return the tasks of `settings` (task to setting) that are not recorded for this model."""
        self._reload()
        tasks = self._tasks(checkpoint, model)
        return {task for task, setting in settings.items() if tasks.get(task) != setting}

    def note(self, checkpoint: str, model: str, settings: Mapping[str, str], tasks: Iterable[str]) -> None:
        """Note that these tasks were recorded."""
        self._reload()
        new = {task: settings[task] for task in sorted(tasks)}
        self.recorded[checkpoint] = {"model": model, "tasks": {**self._tasks(checkpoint, model), **new}}
        self._write()

    def note_tables(self, digest: str) -> None:
        """Note the hash of the final tables that were recorded."""
        self.tables = digest
        self._write()

    def _tasks(self, checkpoint: str, model: str) -> dict[str, str]:
        entry = self.recorded.get(checkpoint)
        return entry["tasks"] if entry is not None and entry["model"] == model else {}

    def _reload(self) -> None:
        """Read entries that another process wrote, for example while this one was stopped."""
        if is_intact(self.path):
            kept = read_json(self.path)
            self.recorded, self.tables = kept["recorded"], kept["tables"]

    def _write(self) -> None:
        write_json(self.path, {"run_id": self.run_id, "recorded": self.recorded, "tables": self.tables})


def run_settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings on which a task's metrics depend: few-shot, limit, seeds, chat template."""
    return {name: value for name, value in asked.items() if name not in IGNORED_SETTINGS}
