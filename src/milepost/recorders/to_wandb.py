"""The recorder for wandb: online if the user is logged in, else offline, with a message.

wandb's own step only counts up, and wandb drops late values. So each value is logged with its step as a
metric named `step`, which is the x axis of all others. wandb keeps logged values in memory for a while, so
`log` waits until wandb's file has them: a kill loses nothing that counts as recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milepost.recorders.recorder import RecordedRun, RecordedTable, RecorderError
from milepost.store import safe_paths as inside
from milepost.text.language import Phrase
from milepost.text.messages import one_line

FLUSH_S = 0.1
"""Seconds between wandb's writes to its file; wandb's default is 15 s."""
STILL_S = 0.25
"""Seconds without growth after which the file has everything of a call."""
MOST_S = 5.0
"""Longest wait for the file, so that a slow disk does not slow down the evaluation."""

OFFLINE_HINT = "set WANDB_MODE=offline to record to disk and `wandb sync` later"


class WandbRecorder:
    """One wandb run; see `recorder.Recorder`."""

    def __init__(self, run: RecordedRun) -> None:
        # wandb reads this on import; without it, wandb sends crash reports to its makers.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb = wandb
        mode, reason = _mode(wandb)
        self._disabled = mode == "disabled"
        try:
            self._run = _open(wandb, run, mode)
        except (wandb.errors.Error, OSError) as error:
            raise RecorderError(Phrase("wandb: {error}", error=one_line(error)), OFFLINE_HINT) from error
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.where = f"wandb: {self._place(mode, reason)}"

    def log(self, step: int | None, metrics: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        wandb_tables = {
            table.name: self._wandb.Table(
                columns=list(table.columns), data=[list(row) for row in table.rows], allow_mixed_types=True
            )
            for table in tables
        }
        at = {} if step is None else {"step": step}
        size = self._file_size()
        try:
            self._run.log({**at, **metrics, **wandb_tables})
        except (self._wandb.errors.Error, OSError) as error:
            raise RecorderError(Phrase("wandb: {error}", error=one_line(error)), OFFLINE_HINT) from error

        self._wait_for_file(size)

    def close(self) -> None:
        try:
            self._run.finish()
        except (self._wandb.errors.Error, OSError) as error:
            raise RecorderError(Phrase("wandb: {error}", error=one_line(error)), OFFLINE_HINT) from error

    def _file_size(self) -> int:
        path = Path(self._run.dir).parent / f"run-{self._run.id}.wandb"
        return path.stat().st_size if path.exists() else 0

    def _wait_for_file(self, size: int) -> None:
        began = grew = time.monotonic()
        last = size
        while time.monotonic() - began < MOST_S and not self._disabled:
            now = self._file_size()
            if now != last:
                last, grew = now, time.monotonic()
            if last != size and time.monotonic() - grew >= STILL_S:
                return
            time.sleep(FLUSH_S / 4)

    def _place(self, mode: str, reason: str) -> str:
        if mode == "disabled":
            return f"nothing is recorded, as {reason}"
        if mode == "online":
            return f"recording to {self._run.url}"
        folder = Path(self._run.dir).parent
        return f"offline, as {reason}; to upload it: wandb login, then wandb sync {folder}"


def _mode(wandb: Any) -> tuple[str, str]:
    """Return online, offline or disabled, and the reason if it is not online."""
    mode = wandb.setup().settings.mode
    if mode in ("offline", "dryrun", "disabled"):
        return ("disabled" if mode == "disabled" else "offline"), f"wandb's settings say ({mode})"
    try:
        if wandb.login(prompt=False, verify=True):
            return "online", ""
    except wandb.errors.Error as error:
        return "offline", f"wandb's server does not let you in ({one_line(error)})"
    return "offline", "you are not logged in"


def _open(wandb: Any, run: RecordedRun, mode: str) -> Any:
    """Open the run, new or resumed. wandb sends only what is recorded, nothing about the machine."""
    folder = Path(os.environ.get("WANDB_DIR") or run.folder)
    inside.make_folder(folder)
    return wandb.init(
        project=run.project,
        id=run.run_id,
        name=run.name,
        config=dict(run.config),
        dir=str(folder),
        mode=mode,
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            x_transaction_log_flush_interval=FLUSH_S,
        ),
    )
