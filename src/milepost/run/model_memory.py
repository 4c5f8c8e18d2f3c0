"""Estimate the memory that a run's models need, and compare it with the devices, before any is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from milepost.errors import MilepostError
from milepost.run.config import EvalConfig
from milepost.run.plans.preparation import Preparation
from milepost.run.scoring.jobs import CheckpointJob
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase

COPIES_ON_HOST = 2
"""Weights that a worker has in main memory: those of the module, and those that are read for the next."""
FIXED_BYTES = 2 << 30
"""Python, torch, a plan, and the activations of a forward pass on a CPU."""
BYTES_OF = {"float32": 4, "float16": 2, "bfloat16": 2}


def memory_needed(jobs: Iterable[CheckpointJob]) -> int:
    """Return the bytes of main memory that a worker needs for the largest checkpoint of these jobs."""
    largest = max((job.checkpoint.size_bytes or 0 for job in jobs), default=0)
    return COPIES_ON_HOST * largest + FIXED_BYTES


def check_memory(
    jobs: Sequence[CheckpointJob],
    preparation: Preparation,
    config: EvalConfig,
    device: str,
    n_workers: int = 1,
) -> None:
    """Check that the devices of this machine can hold the largest model, by the sizes of its files.

    Args:
        n_workers: workers that share the memory of a device, each with a model of its own.

    Raises:
        MilepostError: they cannot.
    """
    needed, job = max(((_model_bytes(job, preparation), job) for job in jobs), key=lambda pair: pair[0])
    has = device_memory(device)
    used = _used(len(has), config)
    is_spread = config.placement.device_map is not None
    room = sum(has[number] for number in used) if is_spread else min((has[n] for n in used), default=0)
    if not room or n_workers * needed <= room:
        return
    if needed <= room:
        raise MilepostError(
            Phrase(
                "{n} workers need about {needed} of memory each for {name}, and this machine has {room}",
                n=n_workers,
                needed=format_bytes(needed),
                name=job.checkpoint.name,
                room=format_bytes(room),
            ),
            Phrase("at most --workers {m}", m=room // needed),
        )
    large = [str(number) for number in used if has[number] >= needed]
    shown = {"name": job.checkpoint.name, "needed": format_bytes(needed), "room": format_bytes(room)}
    if is_spread:
        message = Phrase("{name} needs about {needed} of memory, and the devices here have {room}", **shown)
    elif large:
        raise MilepostError(
            Phrase("{name} needs about {needed} of memory, and one of the GPUs has {room}", **shown),
            Phrase("--devices {large} leaves out what is too small", large=",".join(large)),
        )
    else:
        shown["room"] = format_bytes(max(has[number] for number in used))
        message = Phrase(
            "{name} needs about {needed} of memory, and no device here has more than {room}", **shown
        )
    raise MilepostError(
        message,
        "--device-map auto spreads it over the GPUs of this machine"
        if not is_spread and needed <= sum(has)
        else "use a machine with more memory, or --dtype bfloat16 where the weights are float32",
    )


def _used(n_devices: int, config: EvalConfig) -> Sequence[int]:
    """Return the places, among the devices of this machine, of those that a run computes on."""
    placement = config.placement
    if placement.devices:
        return placement.devices
    if placement.device_map is None and (placement.workers is not None or config.device == "cuda"):
        return range(n_devices)[: placement.n_workers or (n_devices if placement.workers else 1)]
    return range(n_devices)


def device_memory(device: str) -> list[int]:
    """Return the bytes of memory of each device that a run may use; [] where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        _, _, number = device.partition(":")
        numbers = [int(number)] if number else range(torch.cuda.device_count())
        return [torch.cuda.get_device_properties(one).total_memory for one in numbers]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []


def _model_bytes(job: CheckpointJob, preparation: Preparation) -> int:
    """Return the bytes of a model's weights in the dtype that it is computed in."""
    checkpoint = job.checkpoint.base or job.checkpoint
    stored = preparation.series_of(job.checkpoint).dtypes[job.checkpoint]
    size = checkpoint.size_bytes or 0
    if job.dtype in BYTES_OF and stored in BYTES_OF:
        return size * BYTES_OF[job.dtype] // BYTES_OF[stored]
    return size
