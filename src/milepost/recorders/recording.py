"""Record the metrics of a results folder while they are computed: each once, at its step, a run per series.

`Recording` is a `run.callbacks.RunCallback`: the run calls it whenever a checkpoint has metrics, new or old.
The values are read from the store, so the next process records what a killed process did not.
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
from milepost.recorders.leaderboard import final_table
from milepost.recorders.ledger import Ledger, run_settings
from milepost.recorders.metric_rows import curves_of, subjects_table
from milepost.recorders.recorder import RecordedRun, Recorder, RecorderError
from milepost.store import ResultsFolder
from milepost.store.asked import asked_of
from milepost.store.leases import Leases
from milepost.store.metrics_record import MetricRow
from milepost.store.reading import read_checkpoints, read_metrics, read_plan
from milepost.store.records import CheckpointRecord, PlanRecord
from milepost.text.credentials import redacted
from milepost.text.language import _
from milepost.types.checkpoints import Checkpoint
from milepost.types.metrics import Measurement

logger = logging.getLogger("milepost.run")


@dataclass(slots=True)
class _SeriesRun:
    """One recorded series; its recorder is opened when there is something to record."""

    series: str
    described: RecordedRun
    ledger: Ledger
    plans: list[str] = field(default_factory=list)
    recorder: Recorder | None = None


class Recording:
    """Records one results folder with one recorder.

    If the recorder fails, recording ends with a warning. The evaluation goes on, and the same command records
    later what is missing.

    Args:
        name: name of the recorder, for its folder in the results.
        open_run: opens a run of the recorder, new or resumed.
        project: project name of the runs.
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
        """Set the results folder and leases: among processes, the holder of a series' lease records it."""
        self._results, self._leases = results, leases

    def metrics_stored(self, plan_id: str, checkpoint: Checkpoint) -> None:
        """Record the metrics of a checkpoint for a plan that are not recorded yet."""
        if self._failed:
            return
        try:
            run = self._run_of(plan_id, checkpoint.series)
            if run is not None:
                self._record(run, plan_id, only=checkpoint.name)
        except RecorderError as error:
            self._give_up(error)

    def end(self) -> None:
        """Record what other processes added, then the final tables, and close every run."""
        with self._held:
            for run in self._runs.values():
                try:
                    if not self._failed:
                        for plan_id in run.plans:
                            self._record(run, plan_id)
                        self._record_tables(run)
                    if run.recorder is not None:
                        run.recorder.close()
                        print(run.recorder.where, file=sys.stderr, flush=True)
                    elif not self._failed:
                        done = _("{name}: all of {run} is recorded already", name=self._name, run=run.series)
                        print(done, file=sys.stderr, flush=True)
                except RecorderError as error:
                    self._give_up(error)
        self._runs.clear()

    def _run_of(self, plan_id: str, series: str) -> _SeriesRun | None:
        """Return the run of a series; None if another process records it."""
        plan = read_plan(self._results, plan_id)
        settings = run_settings(plan.asked)
        described = {"project": self._project, "series": series, "asked": settings}
        key = _digest(described)
        if key not in self._runs:
            unit = f"recorded-{self._name}-{key}"
            lease = contextlib.ExitStack()
            if not lease.enter_context(self._leases.hold(unit)):
                lease.close()
                return None
            self._held.push(lease)
            ledger = Ledger.open(self._results, self._name, described)
            recorded = RecordedRun(
                project=self._project,
                run_id=ledger.run_id,
                name=_run_name(series, settings),
                folder=self._results.path,
                config=redacted({"series": series, **settings, "versions": plan.settings["versions"]}),
            )
            self._runs[key] = _SeriesRun(series, recorded, ledger)
        run = self._runs[key]
        if plan_id not in run.plans:
            run.plans.append(plan_id)
            self._record(run, plan_id)
        return run

    def _recorder(self, run: _SeriesRun) -> Recorder:
        if run.recorder is None:
            run.recorder = self._open_run(run.described)
        return run.recorder

    def _record(self, run: _SeriesRun, plan_id: str, only: str | None = None) -> None:
        for checkpoint in read_checkpoints(self._results, run.series):
            if only is None or checkpoint.name == only:
                self._record_checkpoint(run, plan_id, checkpoint)

    def _record_checkpoint(self, run: _SeriesRun, plan_id: str, checkpoint: CheckpointRecord) -> None:
        name, model = checkpoint.name, "-".join(checkpoint.model)
        metrics = read_metrics(self._results, plan_id, checkpoint)
        if metrics is None:
            return
        settings = metrics.settings
        new = run.ledger.missing_tasks(name, model, settings)
        if not new:
            return
        every = rows(_measurements(read_plan(self._results, plan_id), metrics.rows, checkpoint))
        step = checkpoint.step
        if step is None:
            logger.warning(
                "%s has no step: it is in the tables of %s, but not in its curves", name, self._name
            )
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
        """Return the rows of all checkpoints and plans of a run; of each task those of the last plan."""
        found: dict[tuple[str, str], list[Measurement]] = {}
        for checkpoint in read_checkpoints(self._results, run.series):
            for plan_id in run.plans:
                metrics = read_metrics(self._results, plan_id, checkpoint)
                plan = read_plan(self._results, plan_id)
                for task, own in ({} if metrics is None else metrics.of_task).items():
                    found[checkpoint.name, task] = _measurements(plan, own, checkpoint)
        return rows(measurement for measured in found.values() for measurement in measured)

    def _give_up(self, error: RecorderError) -> None:
        self._failed = True
        logger.warning(
            "recording has stopped (%s); all metrics are in the results folder, the same command resumes it",
            error.message,
        )


def _measurements(
    plan: PlanRecord, metric_rows: Sequence[MetricRow], checkpoint: CheckpointRecord
) -> list[Measurement]:
    return [row.measurement(checkpoint, asked_of(plan, row.num_fewshot)) for row in metric_rows]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _run_name(series: str, settings: dict[str, Any]) -> str:
    """Return the series with the settings that separate its runs: limit and few-shot."""
    words = [series]
    if settings.get("limit") is not None:
        words.append(f"limit {settings['limit']:g}")
    if settings.get("num_fewshot") is not None:
        words.append(f"{settings['num_fewshot']}-shot")
    return " ".join(words)
