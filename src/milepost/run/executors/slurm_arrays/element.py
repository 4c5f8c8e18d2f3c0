"""The work of one job: one unit, as submitit pickles it."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from milepost.run.executors.messages import Event, Order
from milepost.run.executors.worker import unit_scorer
from milepost.run.executors.worker_setup import WorkerSetup
from milepost.store import safe_paths as inside

SETUP = "setup.pickle"
"""File with what every job is given."""


class ArrayElement:
    """The work of one element of an array; pickled by submitit."""

    def __init__(self, folder: Path, order: Order, events: Path, halvings: int) -> None:
        self.folder = folder
        self.order = order
        self.events = events
        self.halvings = halvings

    def __call__(self) -> None:
        """Score the unit, and write what happens to the file of its events."""
        import torch

        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            torch.set_num_threads(int(cpus))
        setup: WorkerSetup = pickle.loads((self.folder / SETUP).read_bytes())
        with inside.append(self.events) as file:

            def tell(event: Event) -> None:
                file.write(pickle.dumps(event))
                file.flush()

            with unit_scorer(setup, tell, self.halvings) as scorer:
                scorer.score(self.order)

    def checkpoint(self) -> Any:
        """Return the work of a job that is requeued after a preemption: the same, from its records."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)
