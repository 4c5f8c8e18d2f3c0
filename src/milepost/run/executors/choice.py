"""Choose the executor of a run from its options and the devices of this machine."""

from __future__ import annotations

import logging
import os

from milepost.errors import MilepostError
from milepost.language import Phrase
from milepost.run.config import EvalConfig
from milepost.run.executors.cores import CORES_PER_WORKER, cores
from milepost.run.executors.executor import Executor
from milepost.run.executors.local_workers import LocalWorkers, Place
from milepost.run.executors.this_process import ThisProcess

logger = logging.getLogger("milepost.run")


def choose_executor(config: EvalConfig) -> Executor:
    """Return the executor that does the jobs of a run.

    Raises:
        MilepostError: the options contradict each other, or ask for devices that are not here.
    """
    if config.placement.executor != "local":
        return _on_cluster(config)
    places = local_places(config)
    return ThisProcess() if places is None else LocalWorkers(places)


def _on_cluster(config: EvalConfig) -> Executor:
    """Return the executor of a cluster; its library is imported only now."""
    if config.engine == "openai":
        raise MilepostError("--engine openai needs no workers", "leave out --executor")
    if config.placement.devices or config.device.startswith(("cuda:", "mps")):
        raise MilepostError(
            "--devices and --device cuda:N name devices of this machine", "leave them out with --executor"
        )
    if config.placement.executor == "slurm":
        from milepost.run.executors.slurm import SlurmArrays

        return SlurmArrays(config)
    from milepost.run.executors.ray_cluster import RayCluster

    return RayCluster(config)


def local_places(config: EvalConfig) -> list[Place] | None:
    """Return where the workers of this machine compute; None where this process does the work itself.

    Raises:
        MilepostError: as `choose_executor`.
    """
    if not config.placement.asks_for_workers and config.device != "auto":
        return None
    if config.engine == "openai":
        if not config.placement.asks_for_workers:
            return None
        raise MilepostError("--engine openai needs no workers", "leave out --workers and --devices")
    if not config.device.startswith(("auto", "cuda")):
        if config.placement.devices:
            raise MilepostError(
                "--devices names GPUs, and --device another kind", "leave out --device or --devices"
            )
        return None if config.placement.workers is None else _on_cpu(config)
    gpus = _gpus(config)
    if not gpus:
        return None if config.placement.workers is None else _on_cpu(config)
    if not config.placement.asks_for_workers and (len(gpus) == 1 or config.placement.device_map is not None):
        return None
    if config.placement.device_map is not None:
        return _groups(gpus, config.placement.n_workers or 1)
    n_workers = config.placement.n_workers or len(gpus)
    if n_workers > len(gpus):
        raise MilepostError(
            Phrase("{n} workers, and {m} devices ({names})", n=n_workers, m=len(gpus), names=", ".join(gpus)),
            Phrase("at most --workers {m}: a GPU has one worker", m=len(gpus)),
        )
    threads = max(1, cores() // n_workers)
    return [Place("cuda", threads, gpu) for gpu in gpus[:n_workers]]


def _groups(gpus: list[str], n_workers: int) -> list[Place]:
    """Return the places of workers that have several GPUs each."""
    if n_workers > len(gpus):
        raise MilepostError(
            Phrase("{n} workers, and {m} devices ({names})", n=n_workers, m=len(gpus), names=", ".join(gpus)),
            Phrase("at most --workers {m}: a GPU has one worker", m=len(gpus)),
        )
    each = len(gpus) // n_workers
    threads = max(1, cores() // n_workers)
    return [Place("cuda", threads, ",".join(gpus[n * each : (n + 1) * each])) for n in range(n_workers)]


def _on_cpu(config: EvalConfig) -> list[Place] | None:
    """Return the places of workers that share the cores; OMP_NUM_THREADS limits the threads of each."""
    if config.placement.workers == "auto":
        n_workers = max(1, cores() // CORES_PER_WORKER)
        if n_workers == 1:
            return None
    else:
        n_workers = config.placement.n_workers or 1
    if config.device == "mps" and n_workers > 1:
        raise MilepostError(
            "a Mac has one device for all workers", "leave out --workers, or use --device cpu"
        )
    if n_workers > cores():
        logger.warning("%d workers share %d cores: more of them are not faster", n_workers, cores())
    threads = max(1, cores() // n_workers)
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given):
        threads = min(threads, int(given))
    return [Place("mps" if config.device == "mps" else "cpu", threads)] * n_workers


def _gpus(config: EvalConfig) -> list[str]:
    """Return the chosen GPUs, as CUDA_VISIBLE_DEVICES names them.

    Raises:
        MilepostError: a GPU is not here.
    """
    import torch

    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    wanted = config.placement.devices or tuple(range(n_gpus))
    if config.device.startswith("cuda:"):
        wanted = (int(config.device.partition(":")[2]),)
    for number in wanted:
        if number >= n_gpus:
            here = ", ".join(map(str, range(n_gpus))) or "none"
            raise MilepostError(
                Phrase("there is no GPU {number} here", number=number),
                Phrase("GPUs of this machine: {here}", here=here),
            )
    return [visible[number] if len(visible) == n_gpus else str(number) for number in wanted]
