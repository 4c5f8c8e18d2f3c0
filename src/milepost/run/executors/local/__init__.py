"""Workers on this machine: one process per GPU, or per share of the CPU's cores."""

from milepost.run.executors.local.executor import LocalWorkers
from milepost.run.executors.local.places import Place, local_places, workers_at_a_device

__all__ = ["LocalWorkers", "Place", "local_places", "workers_at_a_device"]
