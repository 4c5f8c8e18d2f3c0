"""The executor without workers: this process does the jobs, one checkpoint after the other."""

from __future__ import annotations

from milepost.run.executors.executor import Work
from milepost.run.executors.runner import Runner


class ThisProcess:
    """Does the jobs in this process."""

    def run(self, work: Work) -> None:
        """Do every job. Raises as `Executor.run`."""
        Runner(work.context, work.worker, work.leases, work.progress).run(work.jobs)
