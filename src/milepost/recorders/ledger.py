"""What has been recorded already, kept in the results folder, so that no figure is recorded twice.

    store/recorded/<recorder>/<run>.json    the run's id, and for each checkpoint the model and its tasks

A figure is written down here right after the recorder took it. It is known by checkpoint, model, numerics,
task and setting: a checkpoint that was overwritten, or a task counted differently, is recorded anew.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from milepost.store import ResultsFolder
from milepost.store.atomic_files import is_intact, read_json, safe_name, write_json

NOT_OF_THE_RUN = ("names", "suite", "include_path", "allow_task_code")
"""What was asked besides how: more tasks of the same series go into the same run."""


@dataclass(slots=True)
class Ledger:
    """The recorded figures of one run of one recorder."""

    path: Path
    run_id: str
    recorded: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By checkpoint: `model` (id and numerics) and `tasks`, task to setting."""
    tables: str = ""
    """Hash of the last final tables."""

    @classmethod
    def open(cls, results: ResultsFolder, recorder: str, run: Mapping[str, Any]) -> Ledger:
        """The ledger of the run that `run` describes (project, series, how it was asked), new or kept.

        Raises:
            ResultsError: it is damaged.
        """
        digest = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:8]
        path = recorded_folder(results) / recorder / f"{safe_name(str(run['series']))}-{digest}.json"
        if not path.exists():
            return cls(path, secrets.token_hex(4))
        kept = read_json(path)
        return cls(path, kept["run_id"], kept["recorded"], kept["tables"])

    def lacks(self, checkpoint: str, model: str, settings: Mapping[str, str]) -> set[str]:
        """Those of a checkpoint's tasks (task to setting) that are not recorded of this model."""
        self._look_again()
        known = self.recorded.get(checkpoint, {})
        tasks = known.get("tasks", {}) if known.get("model") == model else {}
        return {task for task, setting in settings.items() if tasks.get(task) != setting}

    def note(self, checkpoint: str, model: str, settings: Mapping[str, str], tasks: Iterable[str]) -> None:
        """Write down that these tasks were recorded."""
        self._look_again()
        known = self.recorded.get(checkpoint, {})
        before = known["tasks"] if known.get("model") == model else {}
        new = {task: settings[task] for task in sorted(tasks)}
        self.recorded[checkpoint] = {"model": model, "tasks": {**before, **new}}
        self._write()

    def note_tables(self, digest: str) -> None:
        self.tables = digest
        self._write()

    def _look_again(self) -> None:
        """Take in what another process has recorded, as it may while this one was stopped."""
        if is_intact(self.path):
            kept = read_json(self.path)
            self.recorded, self.tables = kept["recorded"], kept["tables"]

    def _write(self) -> None:
        write_json(self.path, {"run_id": self.run_id, "recorded": self.recorded, "tables": self.tables})


def recorded_folder(results: ResultsFolder) -> Path:
    return results.path / "store" / "recorded"


def how_asked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that make two figures of a task comparable: few-shot, limit, seeds, chat template."""
    return {name: value for name, value in asked.items() if name not in NOT_OF_THE_RUN}
