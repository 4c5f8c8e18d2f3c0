"""The scores and metrics of one model under one plan: where they are stored, and which are missing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from milepost.errors import ResultsError
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.shards import Shard
from milepost.run.missing_metrics import describe_missing, may_be_retried
from milepost.store import ResultsFolder
from milepost.store import safe_paths as inside
from milepost.store.layout import counted_id
from milepost.store.metrics_record import MetricsRecord
from milepost.store.records import read_if_intact
from milepost.store.tables import looks_whole, read_made

if TYPE_CHECKING:
    from pathlib import Path

SCORING_VERSION = 1
"""Counts up when the numbers an engine gives for the same tokens change beyond rounding."""
RAISED = "raised"
"""In the note of a shard: the requests on which the model raised an exception."""

logger = logging.getLogger("milepost.run")


PlannedShard = tuple[TaskPlan, Shard]
"""A shard and the task that it is a part of."""


class StoredMetrics(NamedTuple):
    """A checkpoint's metrics that are in the store."""

    problem: str | None
    """The metrics that could not be computed, and why; None if all were."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, a plan and a dtype: they name the scores and metrics in a results folder."""

    results: ResultsFolder
    plan: Plan
    model_id: str
    dtype: str

    @property
    def numerics(self) -> str:
        return f"{self.dtype}-v{SCORING_VERSION}"

    @property
    def unit(self) -> str:
        """Beginning of the names of leases on work for this model."""
        return f"{self.model_id}-{self.numerics}-"

    def missing_shards(
        self, shards: Iterable[PlannedShard] | None = None, *, verify: bool = False
    ) -> tuple[PlannedShard, ...]:
        """Return the shards of the plan, or those of `shards`, whose scores are not stored.

        Args:
            verify: read the stored shards as well, and remove those that are damaged or that the model raised
                an exception in, so that they are scored again.
        """
        every = plan_shards(self.plan) if shards is None else shards
        return tuple(
            (task, shard)
            for task, shard in every
            if not looks_whole(self.score_path(shard)) or (verify and self._drop_if_damaged(task, shard))
        )

    def stored_metrics(self) -> StoredMetrics | None:
        """Return the metrics that are stored, with those of each doc; None where they have to be computed.

        Metrics that an exception kept from being computed count as not stored: another try may succeed.
        """
        record = read_if_intact(MetricsRecord, self.metrics_path)
        if record is None or may_be_retried(record.reasons):
            return None
        missing = record.missing
        with_choices = [task for task in self.plan.tasks if task.choices is not None]
        if with_choices and record.choices is None:
            return None  # written by a Milepost that did not compute them
        if any(task.name not in missing for task in with_choices) and not looks_whole(self.picks_path):
            return None
        if any(
            task.name not in missing and not looks_whole(self.doc_metrics_path(task))
            for task in self.plan.tasks
        ):
            return None
        return StoredMetrics(describe_missing(missing, record.reasons))

    def _drop_if_damaged(self, task: TaskPlan, shard: Shard) -> bool:
        path = self.score_path(shard)
        try:
            loglikelihood, _ = self.results.read_scores(path)
            is_intact = len(loglikelihood) == shard.last - shard.first
        except ResultsError:
            is_intact = False
        if is_intact and RAISED not in read_made(path):
            return False
        if not is_intact:
            logger.warning("%s is damaged; its %s requests are scored again", path, task.name)
        inside.remove(path)  # after an exception another try may succeed, with other versions or more memory
        return True

    def score_path(self, shard: Shard) -> Path:
        return self.results.score_path(self.model_id, self.numerics, shard.shard_id)

    def doc_metrics_path(self, task: TaskPlan) -> Path:
        counted = counted_id(task.task_id, self.plan.counting_id(task))
        return self.results.doc_metrics_path(counted, self.model_id, self.numerics)

    @property
    def metrics_path(self) -> Path:
        return self.results.metrics_path(self.plan.plan_id, self.model_id, self.numerics)

    @property
    def picks_path(self) -> Path:
        return self.results.picks_path(self.plan.plan_id, self.model_id, self.numerics)


def work_by_task(shards: Iterable[PlannedShard]) -> dict[str, int]:
    """Return the work of some shards by task; see `TaskPlan.work_of`."""
    work: dict[str, int] = {}
    for task, shard in shards:
        work[task.name] = work.get(task.name, 0) + task.work_of(shard)
    return work


def plan_shards(plan: Plan) -> tuple[PlannedShard, ...]:
    """Return every shard of a plan with its task, in order."""
    return tuple((task, shard) for task in plan.tasks for shard in task.shards)
