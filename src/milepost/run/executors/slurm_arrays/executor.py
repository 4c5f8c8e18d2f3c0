"""The executor with workers in Slurm's job arrays."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import time
from pathlib import Path

from milepost.errors import MilepostError
from milepost.plan.plan_files import save_plan
from milepost.run.config import EvalConfig
from milepost.run.executors.driver import Driver
from milepost.run.executors.executor import Work
from milepost.run.executors.probe import probe_file
from milepost.run.executors.schedule import Schedule
from milepost.run.executors.slurm_arrays.element import SETUP
from milepost.run.executors.slurm_arrays.pool import SlurmPool
from milepost.run.executors.slurm_arrays.script import (
    CLUSTER,
    check_place,
    cut_of,
    import_submitit,
    submitit_executor,
)
from milepost.run.executors.worker_setup import setup_of
from milepost.run.model_memory import memory_needed
from milepost.run.plans.preparation import Preparation
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_atomically
from milepost.store.processes import this_process

TARGET_S = 1800.0
"""Seconds of scoring in a unit: an element waits in a queue before it begins."""


class SlurmArrays:
    """Does the jobs in elements of job arrays."""

    def __init__(self, config: EvalConfig) -> None:
        self._config = config
        check_place(config.output_path)
        if os.environ.get(CLUSTER) != "local" and shutil.which("sbatch") is None:
            raise MilepostError(
                "there is no Slurm here: sbatch was not found",
                "run this on a login node; --dry-run prints the script of the jobs anywhere",
            )
        import_submitit()

    def run(self, work: Work) -> None:
        """Do every job. Raises as `Executor.run`."""
        context = work.context
        folder = context.results.path / "slurm" / f"{time.strftime('%Y%m%dT%H%M%S')}-{this_process()}"
        left = [job for job in work.jobs if job.missing]
        cut = cut_of(self._config, [job.n_tokens for job in left])
        with probe_file(context.results) as token:
            plans = _write_plans(context.preparation, folder / "plans")
            setup = setup_of(context.config, context.preparation, plans, token)
            write_atomically(folder / SETUP, pickle.dumps(setup))
            executor = submitit_executor(self._config, folder / "jobs", memory_needed(left))
            pool = SlurmPool(executor, folder.absolute(), cut.n_units)
            schedule = Schedule(target_s=TARGET_S, first_tokens=cut.tokens, waits_for_model=False)
            try:
                Driver(work, pool, schedule).run(work.jobs)
            except MilepostError:
                if not pool.has_submitted:
                    _remove(folder)
                raise
        _remove(folder)  # after an error it stays, with the logs of the jobs


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        inside.remove_folder(folder)
    inside.remove_empty_folder(folder.parent)


def _write_plans(preparation: Preparation, folder: Path) -> dict[str, Path]:
    """Write each plan as files that jobs map into memory; returns where, by plan id."""
    inside.make_folder(folder)
    where = {plan.plan_id: (folder / plan.plan_id).absolute() for plan in preparation.plans}
    for plan in preparation.plans:
        save_plan(plan, where[plan.plan_id], None)
    return where
