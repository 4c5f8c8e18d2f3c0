"""The recorder for trackio: a SQLite file on this machine, unless trackio's settings name a server.

trackio writes in the background, and only finishing a run waits for it. So each checkpoint resumes the run,
logs and finishes it: after `log` returns, everything is on disk. trackio identifies a run by its name, so the
name contains the run's id.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from milepost.recorders.recorder import RecordedRun, RecordedTable, RecorderError
from milepost.text.language import Phrase

SERVERS = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""Settings that make trackio send data to a server; the first one that is set counts."""


class TrackioRecorder:
    """One trackio run; see `recorder.Recorder`."""

    def __init__(self, run: RecordedRun) -> None:
        import trackio

        self._trackio = trackio
        self._run = run
        self.where = f"trackio: recording to {_place(str(trackio.TRACKIO_DIR), run.project)}"

    def log(self, step: int | None, metrics: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        # In a separate context, because trackio finishes the current run, even one of the user.
        contextvars.Context().run(self._log, step, {**metrics, **self._tables(tables)})

    def close(self) -> None:
        """Do nothing: no run is open between two checkpoints."""

    def _log(self, step: int | None, entries: Mapping[str, Any]) -> None:
        # trackio prints to standard output, which is for results.
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                run = self._trackio.init(
                    project=self._run.project,
                    name=f"{self._run.name} {self._run.run_id}",
                    config=dict(self._run.config),
                    resume="allow",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
            except (OSError, ValueError) as error:
                raise RecorderError(
                    Phrase("trackio: {error}", error=error), "check the variables TRACKIO_*"
                ) from error
            run.log(dict(entries), step=step)
            run.finish()

    def _tables(self, tables: Sequence[RecordedTable]) -> dict[str, Any]:
        return {
            table.name: self._trackio.Table(
                columns=list(table.columns), data=[list(row) for row in table.rows]
            )
            for table in tables
        }


def _place(folder: str, project: str) -> str:
    for name in SERVERS:
        if server := os.environ.get(name):
            return f"{server.split('?')[0]}, as {name} says"
    return f"{folder}; to look at it: trackio show --project {project}"
