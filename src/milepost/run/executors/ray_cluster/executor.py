"""The executor with workers on a Ray cluster."""

from __future__ import annotations

from milepost.run.config import EvalConfig
from milepost.run.executors.driver import Driver
from milepost.run.executors.executor import Work
from milepost.run.executors.probe import probe_file
from milepost.run.executors.ray_cluster.connection import check_address, connected
from milepost.run.executors.ray_cluster.pool import RayPool
from milepost.run.executors.ray_cluster.resources import shape_of_workers
from milepost.run.executors.worker_setup import setup_of
from milepost.run.model_memory import memory_needed


class RayCluster:
    """Does the jobs in actors of a cluster."""

    def __init__(self, config: EvalConfig) -> None:
        """Check the address. Raises as `check_address`."""
        check_address(config)
        self._config = config

    def run(self, work: Work) -> None:
        """Do every job. Raises as `Executor.run`."""
        context = work.context
        with connected(self._config), probe_file(context.results) as token:
            plans = {plan.plan_id: plan.without_docs() for plan in context.preparation.plans}
            setup = setup_of(context.config, context.preparation, plans, token)
            n_workers, shape = shape_of_workers(context.config, memory_needed(work.jobs))
            Driver(work, RayPool(setup, n_workers, shape)).run(work.jobs)
