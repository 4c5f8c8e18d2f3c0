"""The work to do: one job per checkpoint, a plain value that another process can take."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from milepost.plan.plan import Plan
from milepost.run.target import PlannedShard, StoredMetrics, Target, plan_shards, work_by_task
from milepost.store import ResultsFolder
from milepost.store.records import CheckpointRecord, read_if_intact
from milepost.types.checkpoints import Checkpoint

if TYPE_CHECKING:
    from milepost.run.config import EvalConfig
    from milepost.run.plans.preparation import Preparation


class JobState(enum.Enum):
    """The progress of a checkpoint."""

    UNSCORED = "unscored"
    """Scores are missing."""
    SCORED = "scored"
    """All scores are stored, and the metrics are not."""
    DONE = "done"


@dataclass(frozen=True, eq=False)
class CheckpointJob:
    """A checkpoint, the plan it is scored with, and the shards that are missing when the job is made.

    The job is idempotent: what the results folder has by then is not computed again.
    """

    checkpoint: Checkpoint
    results: ResultsFolder
    plan: Plan
    dtype: str
    """The dtype to compute in; scores of another dtype are other scores."""
    model_id: str | None = None
    """None until the weights are hashed, unless an earlier visit did."""
    missing: tuple[PlannedShard, ...] = ()
    metrics: StoredMetrics | None = None
    part: tuple[PlannedShard, ...] | None = None
    """The shards that a worker was given; None for all of the plan."""

    @classmethod
    def expect(cls, checkpoint: Checkpoint, results: ResultsFolder, plan: Plan, dtype: str) -> CheckpointJob:
        """Make the job from the model id of the checkpoint's last visit, without reading its weights.

        The weights may have been overwritten since: `identified` says.
        """
        job = cls(checkpoint, results, plan, dtype, missing=plan_shards(plan))
        visit = read_if_intact(CheckpointRecord, results.checkpoint_path(checkpoint.series, checkpoint.name))
        known = visit is not None and visit.model_id
        return job._look_up(known, verify=False) if known else job

    def identified(self, model_id: str, *, verify: bool = True) -> CheckpointJob:
        """Return the job of the model that the checkpoint is now.

        Args:
            verify: whether to read and verify unfinished scores.
        """
        if model_id == self.model_id and self.state is JobState.DONE:
            return self
        return self._look_up(model_id, verify=verify)

    def refreshed(self) -> CheckpointJob:
        """Return the job without the shards that were stored since it was made."""
        if not self.missing:
            return self
        missing = self.target.missing_shards(self.missing)
        return replace(self, missing=missing, metrics=None if missing else self.target.stored_metrics())

    @cached_property
    def target(self) -> Target:
        """Return the place of the model's scores and metrics in the store."""
        assert self.model_id is not None, "the checkpoint was identified"
        return Target(self.results, self.plan, self.model_id, self.dtype)

    @property
    def state(self) -> JobState:
        if self.missing:
            return JobState.UNSCORED
        return JobState.SCORED if self.metrics is None else JobState.DONE

    @property
    def n_tokens(self) -> int:
        """Tokens of the missing shards, before sharing."""
        return sum(task.tokens_of(shard.first, shard.last) for task, shard in self.missing)

    @property
    def work(self) -> dict[str, int]:
        """Work of the missing shards, by task."""
        return work_by_task(self.missing)

    def _look_up(self, model_id: str, *, verify: bool) -> CheckpointJob:
        target = Target(self.results, self.plan, model_id, self.dtype)
        metrics = target.stored_metrics()
        missing = target.missing_shards(self.part, verify=verify and metrics is None)
        return replace(self, model_id=model_id, missing=missing, metrics=metrics)


def make_jobs(results: ResultsFolder, preparation: Preparation, config: EvalConfig) -> list[CheckpointJob]:
    """Make the job of every usable checkpoint, in order."""
    return [
        CheckpointJob.expect(
            checkpoint,
            results,
            preparation.tasks_of(checkpoint).plan,
            series.dtype_of(checkpoint, config.asked_dtype),
        )
        for series in preparation.series
        for checkpoint in series.checkpoints
    ]
