"""The devices and threads of the workers on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from milepost.cores import usable_cores
from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.text.language import Phrase

CORES_PER_WORKER = 4
"""Cores per worker of `--workers auto` on a CPU: matrix products of small models gain little from more."""


@dataclass(frozen=True, slots=True)
class Place:
    """The device and the threads of a worker."""

    device: str
    threads: int
    """Threads of one operation on the CPU."""
    gpu: str | None = None
    """The entry of CUDA_VISIBLE_DEVICES, or several; None on a CPU."""


def local_places(config: EvalConfig) -> list[Place] | None:
    """Return where the workers of this machine compute; None where this process does the work itself.

    Raises:
        MilepostError: as `choose_executor`.
    """
    placement = config.placement
    if not placement.asks_for_workers and config.device != "auto":
        return None
    if config.engine == "openai":
        if not placement.asks_for_workers:
            return None
        raise MilepostError("--engine openai needs no workers", "leave out --workers and --devices")
    if not config.device.startswith(("auto", "cuda")):
        if placement.devices:
            raise MilepostError(
                "--devices names GPUs, and --device another kind", "leave out --device or --devices"
            )
        return None if placement.workers is None else _on_cpu(config)
    gpus = _gpus(config)
    if not gpus:
        return None if placement.workers is None else _on_cpu(config)
    is_spread = placement.device_map is not None
    if not placement.asks_for_workers and (len(gpus) == 1 or is_spread):
        return None
    n_workers = placement.n_workers or (1 if is_spread else len(gpus))
    if n_workers > len(gpus):
        raise MilepostError(
            Phrase("{n} workers, and {m} devices ({names})", n=n_workers, m=len(gpus), names=", ".join(gpus)),
            Phrase("at most --workers {m}: a GPU has one worker", m=len(gpus)),
        )
    each = len(gpus) // n_workers if is_spread else 1
    threads = max(1, usable_cores() // n_workers)
    return [Place("cuda", threads, ",".join(gpus[n * each : (n + 1) * each])) for n in range(n_workers)]


def workers_at_a_device(config: EvalConfig) -> int:
    """Return how many workers of this machine share the memory of one device: all of them on a CPU.

    Raises:
        MilepostError: as `choose_executor`.
    """
    places = local_places(config)
    return 1 if places is None or places[0].gpu is not None else len(places)


def _on_cpu(config: EvalConfig) -> list[Place] | None:
    """Return the places of workers that share the cores; OMP_NUM_THREADS limits the threads of each."""
    if config.placement.workers == "auto":
        n_workers = max(1, usable_cores() // CORES_PER_WORKER)
        if n_workers == 1:
            return None
    else:
        n_workers = config.placement.n_workers or 1
    if config.device == "mps" and n_workers > 1:
        raise MilepostError(
            "a Mac has one device for all workers", "leave out --workers, or use --device cpu"
        )
    if n_workers > usable_cores():
        raise MilepostError(
            Phrase("{n} workers, and this process may use {m} cores", n=n_workers, m=usable_cores()),
            Phrase("at most --workers {m}: a worker needs a core", m=usable_cores()),
        )
    threads = max(1, usable_cores() // n_workers)
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
