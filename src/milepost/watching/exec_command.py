"""Run a command of the user once after each checkpoint (`--exec`), however often the watch is restarted."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import time
from typing import TYPE_CHECKING

from milepost.store.atomic_files import is_intact, read_json, write_json
from milepost.store.records import CheckpointRecord, read_record

if TYPE_CHECKING:
    from pathlib import Path

    from milepost.store import ResultsFolder
    from milepost.store.leases import Leases
    from milepost.types.checkpoints import Checkpoint

logger = logging.getLogger("milepost.watching")


class ExecCommand:
    """A `run.callbacks.RunCallback` that runs a shell command for each checkpoint that has metrics.

    The environment names the checkpoint: MILEPOST_CHECKPOINT, MILEPOST_STEP (empty where the name has no
    step), MILEPOST_SERIES, MILEPOST_SOURCE and MILEPOST_RESULTS. A command that has ended is noted in the
    results folder and not run again for the same weights; a kill in the middle runs it once more.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self._name = hashlib.sha256(command.encode()).hexdigest()[:16]
        self._results: ResultsFolder
        self._leases: Leases

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        self._results, self._leases = results, leases

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        path = self._results.checkpoint_path(checkpoint.series, checkpoint.name)
        model_id = read_record(CheckpointRecord, path).model_id
        executed = {"model_id": model_id, "plan_id": plan_id, "command": self.command}
        note = self._note(checkpoint)
        with self._leases.hold(f"executed-{self._name}-{model_id}-{plan_id}") as is_ours:
            if not is_ours or (is_intact(note) and executed.items() <= read_json(note).items()):
                return
            status = subprocess.run(self.command, shell=True, env=self._environment(checkpoint)).returncode
            if status:
                logger.warning("--exec ended with status %d after %s", status, checkpoint.name)
            write_json(note, {**executed, "status": status, "time": time.time()})

    def end(self) -> None: ...

    def _note(self, checkpoint: Checkpoint) -> Path:
        return self._results.executed_path(self._name, checkpoint.series, checkpoint.name)

    def _environment(self, checkpoint: Checkpoint) -> dict[str, str]:
        return {
            **os.environ,
            "MILEPOST_CHECKPOINT": checkpoint.name,
            "MILEPOST_STEP": "" if checkpoint.step is None else str(checkpoint.step),
            "MILEPOST_SERIES": checkpoint.series,
            "MILEPOST_SOURCE": checkpoint.source,
            "MILEPOST_RESULTS": str(self._results.path.absolute()),
        }
