"""Choose how many workers a cluster gets, and what each asks Ray for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.executors.local.places import CORES_PER_WORKER
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase


@dataclass(frozen=True, slots=True)
class WorkerShape:
    """The resources of one worker, by the names that Ray gives them."""

    num_gpus: int
    num_cpus: int
    memory: int
    """Bytes of main memory."""


def shape_of_workers(config: EvalConfig, memory: int) -> tuple[int, WorkerShape]:
    """Return the number of workers and the resources of each.

    Raises:
        MilepostError: there are fewer devices in the cluster, or no node has so much memory.
    """
    import ray

    total = ray.cluster_resources()
    n_gpus, n_cpus = int(total.get("GPU", 0)), int(total.get("CPU", 1))
    asked = config.placement.n_workers
    if n_gpus and not config.device.startswith("cpu"):
        n_workers = asked or n_gpus
        if n_workers > n_gpus:
            raise MilepostError(
                Phrase("{n} workers, and the cluster has {m} GPUs", n=n_workers, m=n_gpus),
                Phrase("at most --workers {m}: a GPU has one worker", m=n_gpus),
            )
        shape = WorkerShape(1, 1, memory)
    else:
        n_workers = asked or max(1, n_cpus // CORES_PER_WORKER)
        if n_workers > n_cpus:
            raise MilepostError(
                Phrase("{n} workers, and the cluster has {m} cores", n=n_workers, m=n_cpus),
                Phrase("at most --workers {m}", m=n_cpus),
            )
        smallest = min((int(node["Resources"].get("CPU", 0)) or n_cpus for node in _nodes()), default=n_cpus)
        shape = WorkerShape(0, max(1, min(n_cpus // n_workers, smallest)), memory)
    largest = max((int(node["Resources"].get("memory", 0)) for node in _nodes()), default=0)
    if largest and memory > largest:
        raise MilepostError(
            Phrase(
                "a worker needs about {needed} of memory, and no node of the cluster has more than {largest}",
                needed=format_bytes(memory),
                largest=format_bytes(largest),
            ),
            "add a node with more memory, or start its Ray with a larger --memory",
        )
    return n_workers, shape


def _nodes() -> list[dict[str, Any]]:
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return [node for node in nodes if node["Alive"]]
