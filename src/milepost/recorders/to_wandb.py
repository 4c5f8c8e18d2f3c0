"""wandb as a recorder: online where the user is logged in, else offline and saying so.

wandb's own step only counts up and drops what comes late, so every figure carries its step as a metric,
`step`, and all others are drawn over that one. It keeps what is logged in memory for a while: `log` waits
until wandb's file has it, so that a kill loses nothing that counts as recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milepost.recorders.recorder import RecordedRun, RecordedTable, RecorderError
from milepost.store import safe_paths as inside

FLUSH_S = 0.1
"""How often wandb writes to its file; by itself every 15 s."""
STILL_S = 0.25
"""The file has all of a call when it grew and then stood still for so long."""
MOST_S = 5.0
"""Longer is not waited for: the disk is slow, and the evaluation should not be."""

OFFLINE_HINT = "set WANDB_MODE=offline to record to disk and `wandb sync` later"


class WandbRecorder:
    """One wandb run; see `recorder.Recorder`."""

    def __init__(self, run: RecordedRun) -> None:
        # Read by wandb when it is imported: its own crash reports would go to its makers unasked.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb = wandb
        mode, why = _mode(wandb)
        self._disabled = mode == "disabled"
        try:
            self._run = _open(wandb, run, mode)
        except (wandb.errors.Error, OSError) as error:
            raise RecorderError(f"wandb: {_short(error)}", OFFLINE_HINT) from error
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self.where = f"wandb: {self._place(mode, why)}"

    def log(self, step: int | None, figures: Mapping[str, float], tables: Sequence[RecordedTable]) -> None:
        made = {
            table.name: self._wandb.Table(
                columns=list(table.columns), data=[list(row) for row in table.rows], allow_mixed_types=True
            )
            for table in tables
        }
        at = {} if step is None else {"step": step}
        size = self._file_size()
        try:
            self._run.log({**at, **figures, **made})
        except (self._wandb.errors.Error, OSError) as error:
            raise RecorderError(f"wandb: {_short(error)}", OFFLINE_HINT) from error

        self._wait_for_file(size)

    def close(self) -> None:
        try:
            self._run.finish()
        except (self._wandb.errors.Error, OSError) as error:
            raise RecorderError(f"wandb: {_short(error)}", OFFLINE_HINT) from error

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

    def _place(self, mode: str, why: str) -> str:
        if mode == "disabled":
            return f"nothing is recorded, as {why}"
        if mode == "online":
            return f"recording to {self._run.url}"
        folder = Path(self._run.dir).parent
        return f"offline, as {why}; to upload it: wandb login, then wandb sync {folder}"


def _mode(wandb: Any) -> tuple[str, str]:
    """Online, offline or disabled, and the reason where it is not online."""
    asked = wandb.setup().settings.mode
    if asked in ("offline", "dryrun", "disabled"):
        return ("disabled" if asked == "disabled" else "offline"), f"wandb's settings say ({asked})"
    try:
        if wandb.login(prompt=False, verify=True):
            return "online", ""
    except wandb.errors.Error as error:
        return "offline", f"wandb's server does not let you in ({_short(error)})"
    return "offline", "you are not logged in"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _open(wandb: Any, run: RecordedRun, mode: str) -> Any:
    """The run, new or gone on with. Nothing of the machine but what is recorded goes along."""
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
