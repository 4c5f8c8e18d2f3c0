"""The values that every part of a run shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from milepost.run.callbacks import RunCallback
from milepost.run.config import EvalConfig
from milepost.run.device import resolve_device
from milepost.run.display.journal import Journal
from milepost.run.display.timing import Clock, LongRunPolicy
from milepost.run.outcome import Outcome
from milepost.run.plans.preparation import Preparation
from milepost.run.scoring.jobs import CheckpointJob, JobState
from milepost.store import ResultsFolder


@dataclass(frozen=True)
class ScoringContext:
    """The values that scoring needs, in the process of the command or in a worker."""

    config: EvalConfig
    preparation: Preparation
    results: ResultsFolder
    journal: Journal

    @cached_property
    def device(self) -> str:
        """The device to compute on; resolving it may import torch."""
        return resolve_device(self.config.device)


@dataclass(frozen=True)
class RunContext(ScoringContext):
    """A run over some series into one results folder."""

    callback: RunCallback
    policy: LongRunPolicy
    clock: Clock
    outcome: Outcome
    """Filled while the run goes on."""

    def is_finished(self, job: CheckpointJob) -> bool:
        """Return whether this run has nothing to compute for a job."""
        return job.state is JobState.DONE or (job.state is JobState.SCORED and self.config.leaves_metrics)
