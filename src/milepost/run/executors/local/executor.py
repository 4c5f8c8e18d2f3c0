"""The executor with workers on this machine, which share the plan through memory-mapped files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from milepost.plan.plan_files import save_plan
from milepost.run.executors.driver import Driver
from milepost.run.executors.executor import Work
from milepost.run.executors.local.places import Place
from milepost.run.executors.local.pool import LocalPool
from milepost.run.executors.worker_setup import setup_of
from milepost.run.plans.preparation import Preparation


class LocalWorkers:
    """Does the jobs in processes of this machine."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places

    def run(self, work: Work) -> None:
        """Do every job. Raises as `Executor.run`."""
        context = work.context
        with _shared_plans(context.preparation) as plans:
            setup = setup_of(context.config, context.preparation, plans)
            Driver(work, LocalPool(setup, self._places)).run(work.jobs)


@contextlib.contextmanager
def _shared_plans(preparation: Preparation) -> Iterator[dict[str, Path]]:
    """Yield, by plan id, a folder with each plan as files that workers map into memory."""
    with tempfile.TemporaryDirectory(prefix="milepost-plans-", ignore_cleanup_errors=True) as folder:
        where = {plan.plan_id: Path(folder) / plan.plan_id for plan in preparation.plans}
        for plan in preparation.plans:
            save_plan(plan, where[plan.plan_id], None)
        yield where
