"""Records a results folder's figures as they come to be: each once, at its step, in one run per series.

`Recording` is a `RunCallback`: `begin` once the results folder exists, `metrics_stored` whenever a checkpoint
has metrics, computed now or earlier, `end` when no more come. It reads the metrics from the store, so any
writer of metrics can use it, and the next process records what a killed one did not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from milepost.analysis import Row, rows
from milepost.credentials import redacted
from milepost.recorders.leaderboard import final_table
from milepost.recorders.ledger import Ledger, how_asked
from milepost.recorders.metric_rows import curves_of, subjects_table
from milepost.recorders.recorder import RecordedRun, Recorder, RecorderError
from milepost.store import ResultsFolder
from milepost.store.atomic_files import read_json
from milepost.store.leases import Leases
from milepost.store.reading import checkpoints_of, figures_of_plan
from milepost.types import Checkpoint

logger = logging.getLogger("milepost.run")


@dataclass(slots=True)
class _SeriesRun:
    """What is recorded of one series; its recorder is opened when there is something to record."""

    series: str
    described: RecordedRun
    ledger: Ledger
    plans: list[str] = field(default_factory=list)
    recorder: Recorder | None = None


class Recording:
    """One recorder over one results folder.

    A recorder that fails ends the recording with a warning and nothing else: the evaluation goes on, and the
    same command records later what is missing.

    Args:
        name: the recorder's, for its place in the results folder.
        open_run: opens a run of it, new or gone on with.
        project: what the recorder groups runs by.
    """

    def __init__(self, name: str, open_run: Callable[[RecordedRun], Recorder], project: str) -> None:
        self._name = name
        self._open_run = open_run
        self._project = project
        self._runs: dict[str, _SeriesRun] = {}
        self._held = contextlib.ExitStack()
        self._failed = False
        self._results: ResultsFolder
        self._leases: Leases

    def begin(self, results: ResultsFolder, leases: Leases) -> None:
        """Of several processes on one folder, the one that holds a series' lease records it."""
        self._results, self._leases = results, leases

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        """A checkpoint has figures for a plan: record those that are not yet."""
        if self._failed:
            return
        try:
            run = self._run_of(plan_id, checkpoint.series)
            if run is not None:
                self._record(run, plan_id, only=checkpoint.name)
        except RecorderError as error:
            self._give_up(error)

    def end(self) -> None:
        """Record what other processes have added, then the final tables, and close every run."""
        with self._held:
            for run in self._runs.values():
                try:
                    if not self._failed:
                        for plan_id in run.plans:
                            self._record(run, plan_id)
                        self._record_tables(run)
                    if run.recorder is not None:
                        run.recorder.close()
                except RecorderError as error:
                    self._give_up(error)
        self._runs.clear()

    def _run_of(self, plan_id: str, series: str) -> _SeriesRun | None:
        """The series' run; None where another process records it."""
        plan = read_json(self._results.plan_path(plan_id))
        asked = how_asked(plan["settings"]["asked"])
        described = {"project": self._project, "series": series, "asked": asked}
        key = _digest(described)
        if key not in self._runs:
            unit = f"recorded-{self._name}-{key}"
            lease = contextlib.ExitStack()
            if not lease.enter_context(self._leases.hold(unit)):
                lease.close()
                return None
            self._held.push(lease)
            ledger = Ledger.open(self._results, self._name, described)
            new = RecordedRun(
                project=self._project,
                run_id=ledger.run_id,
                name=_run_name(series, asked),
                folder=self._results.path,
                config=redacted({"series": series, **asked, "versions": plan["settings"]["versions"]}),
            )
            self._runs[key] = _SeriesRun(series, new, ledger)
        run = self._runs[key]
        if plan_id not in run.plans:
            run.plans.append(plan_id)
            self._record(run, plan_id)
        return run

    def _recorder(self, run: _SeriesRun) -> Recorder:
        if run.recorder is None:
            run.recorder = self._open_run(run.described)
            print(run.recorder.where, file=sys.stderr, flush=True)
        return run.recorder

    def _record(self, run: _SeriesRun, plan_id: str, only: str | None = None) -> None:
        for checkpoint in checkpoints_of(self._results, run.series):
            if only is None or checkpoint["checkpoint"] == only:
                self._record_one(run, plan_id, checkpoint)

    def _record_one(self, run: _SeriesRun, plan_id: str, checkpoint: dict[str, Any]) -> None:
        name, model = checkpoint["checkpoint"], f"{checkpoint['model_id']}-{checkpoint['numerics']}"
        found = figures_of_plan(self._results, plan_id, checkpoint)
        settings = {figure.task: setting for setting, figure in found}
        new = run.ledger.lacks(name, model, settings)
        if not new:
            return
        every = rows(figure for _, figure in found)
        step = checkpoint["step"]
        if step is None:
            logger.warning("%s has no step: it is in the tables of %s, and in no curve", name, self._name)
        else:
            self._recorder(run).log(step, curves_of(every, new), [subjects_table(every)])
        run.ledger.note(name, model, settings, new)

    def _record_tables(self, run: _SeriesRun) -> None:
        every = self._all_rows(run)
        if not every:
            return
        table = final_table(every)
        digest = _digest([table.columns, table.rows])
        if digest != run.ledger.tables:
            steps = [row.step for row in every if row.step is not None]
            self._recorder(run).log(max(steps, default=None), {}, [table])
            run.ledger.note_tables(digest)

    def _all_rows(self, run: _SeriesRun) -> Sequence[Row]:
        """Figures of every checkpoint and of the run's plans, each task's of the last plan that has it."""
        found: dict[tuple[str, str], list[Any]] = {}
        for checkpoint in checkpoints_of(self._results, run.series):
            for plan_id in run.plans:
                by_task: dict[str, list[Any]] = {}
                for _, figure in figures_of_plan(self._results, plan_id, checkpoint):
                    by_task.setdefault(figure.task, []).append(figure)
                for task, figures in by_task.items():
                    found[figures[0].checkpoint, task] = figures
        return rows(figure for figures in found.values() for figure in figures)

    def _give_up(self, error: RecorderError) -> None:
        self._failed = True
        logger.warning(
            "recording has stopped (%s); all figures are in the results folder, the same command goes on",
            error.message,
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _run_name(series: str, asked: dict[str, Any]) -> str:
    """The series, and whatever else tells its runs apart at a glance."""
    words = [series]
    if asked.get("limit") is not None:
        words.append(f"limit {asked['limit']:g}")
    if asked.get("num_fewshot") is not None:
        words.append(f"{asked['num_fewshot']}-shot")
    return " ".join(words)
