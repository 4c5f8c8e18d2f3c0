"""Compute metrics in a worker that has nothing to score, while those of other checkpoints wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from milepost.run.context import ScoringContext
from milepost.run.executors.messages import MetricsEnd, MetricsLeft, MetricsOrder, MetricsStored
from milepost.run.target import Target
from milepost.store.leases import Leases

if TYPE_CHECKING:
    from milepost.run.plans.planning import PlannedTasks


class MetricsHelp:
    """Computes metrics; the tasks of a plan are loaded once, which the driver has done for itself."""

    def __init__(self, context: ScoringContext, leases: Leases) -> None:
        self._context = context
        self._leases = leases
        self._tasks: dict[str, PlannedTasks] = {}
        """By plan id."""

    def compute(self, order: MetricsOrder) -> MetricsEnd:
        """Compute and store the metrics of a checkpoint; whatever goes wrong is left to the driver."""
        checkpoint, context = order.checkpoint, self._context
        log_path = context.results.log_folder(checkpoint.series, checkpoint.name) / "evaluation.log"
        try:
            with context.journal.evaluation_log(log_path) as log:
                seconds, problem = self._compute(order)
                log.info("metrics computed in %.1f s, by a worker", seconds)
        except Exception as error:
            return MetricsLeft(f"{type(error).__name__}: {error}")
        return MetricsStored(problem, seconds)

    def _compute(self, order: MetricsOrder) -> tuple[float, str | None]:
        """Return how long it took, without loading the tasks, and what could not be computed."""
        from milepost.run.metrics.checkpoint_metrics import ensure_metrics

        tasks = self._load(order.plan_id, order.checkpoint.series)
        start = time.monotonic()
        target = Target(self._context.results, tasks.plan, order.model_id, order.dtype)
        problem = ensure_metrics(target, tasks, self._leases)
        return time.monotonic() - start, problem

    def _load(self, plan_id: str, series: str) -> PlannedTasks:
        """Return the tasks of a plan, read from its records: the plan that workers share has no docs."""
        from milepost.run.plans.plan_from_records import read_stored_plan
        from milepost.run.plans.stored_tasks import load_stored_tasks

        if plan_id not in self._tasks:
            asked = self._context.config.tasks
            plan = read_stored_plan(self._context.results, plan_id)
            self._tasks[plan_id] = load_stored_tasks(
                self._context.results, plan, series, asked.include_path, asked.allow_task_code
            )
        return self._tasks[plan_id]
