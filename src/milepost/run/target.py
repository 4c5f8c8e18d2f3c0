"""The scores and metrics of one model under one plan: where they are stored, and which are missing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.errors import ResultsError
from milepost.plan.plan import Plan, TaskPlan
from milepost.plan.shards import Shard
from milepost.run.missing_metrics import describe_missing, may_be_retried
from milepost.store import ResultsFolder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import read_json
from milepost.store.folder import counted_id
from milepost.store.tables import looks_whole, read_made

if TYPE_CHECKING:
    from pathlib import Path

SCORING_VERSION = 1
"""Counts up when the numbers an engine gives for the same tokens change beyond rounding."""
RAISED = "raised"
"""In the note of a shard: the requests on which the model raised an exception."""

logger = logging.getLogger("milepost.run")


@dataclass(frozen=True, slots=True)
class Target:
    """Which answers to which questions, and where they are kept."""

    results: ResultsFolder
    plan: Plan
    model_id: str
    dtype: str

    @property
    def numerics(self) -> str:
        return f"{self.dtype}-v{SCORING_VERSION}"

    def missing_shards(self) -> list[tuple[TaskPlan, Shard]]:
        return [
            (task, shard)
            for task in self.plan.tasks
            for shard in task.shards
            if not looks_whole(self.score_path(shard))
        ]

    def score_path(self, shard: Shard) -> Path:
        return self.results.score_path(self.model_id, self.numerics, shard.shard_id)

    @property
    def unit(self) -> str:
        """How the names of leases on work for this model begin."""
        return f"{self.model_id}-{self.numerics}-"

    def has_metrics(self) -> bool:
        """Whether its figures are there, whole, and with the docs' own beside them."""
        try:
            record = read_json(self.metrics_path)
        except ResultsError:
            return False
        if may_be_retried(record):
            return False  # a filter or metric raised: another try costs little and may succeed
        missing = record["missing"]
        offering = [task for task in self.plan.tasks if task.choices is not None]
        if offering and "choices" not in record:
            return False  # of a Milepost that did not compute them; the scores are there
        if any(task.name not in missing for task in offering) and not looks_whole(self.picks_path):
            return False
        return all(
            task.name in missing or looks_whole(self.doc_metrics_path(task)) for task in self.plan.tasks
        )

    def drop_damaged(self) -> None:
        """Remove stored shards that are not what was written, or that the model raised an exception in, so
        that they are scored again."""
        for task in self.plan.tasks:
            for shard in task.shards:
                path = self.score_path(shard)
                if not looks_whole(path):
                    continue
                try:
                    loglikelihood, _ = self.results.read_scores(path)
                    intact = len(loglikelihood) == shard.last - shard.first
                except ResultsError:
                    intact = False
                if intact and RAISED in read_made(path):
                    inside.remove(path)  # another try may succeed, with other versions or more memory
                elif not intact:
                    logger.warning("%s is damaged; its %s requests are scored again", path, task.name)
                    inside.remove(path)

    def describe_missing(self) -> str | None:
        """Of a model with stored figures: which are None and why; None if all were computed."""
        return describe_missing(read_json(self.metrics_path))

    def doc_metrics_path(self, task: TaskPlan) -> Path:
        counted = counted_id(task.task_id, self.plan.counting_id(task))
        return self.results.doc_metrics_path(counted, self.model_id, self.numerics)

    @property
    def metrics_path(self) -> Path:
        return self.results.metrics_path(self.plan.plan_id, self.model_id, self.numerics)

    @property
    def picks_path(self) -> Path:
        return self.results.picks_path(self.plan.plan_id, self.model_id, self.numerics)
