"""The executor without workers: this process does the jobs, one checkpoint after the other."""

from __future__ import annotations

from collections.abc import Sequence

from milepost.run.context import RunContext
from milepost.run.jobs import CheckpointJob
from milepost.run.progress import Progress
from milepost.run.runner import Runner
from milepost.store.leases import Leases
from milepost.store.workers import Worker


class ThisProcess:
    """Does the jobs in this process."""

    def run(
        self,
        jobs: Sequence[CheckpointJob],
        context: RunContext,
        worker: Worker,
        leases: Leases,
        progress: Progress,
    ) -> None:
        """Do every job. Raises as `Executor.run`."""
        Runner(context, worker, leases, progress).run(jobs)
