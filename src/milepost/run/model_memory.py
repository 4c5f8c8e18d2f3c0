"""Estimate the memory that a run's models need, before any is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from milepost.run.jobs import CheckpointJob

COPIES_ON_HOST = 2
"""Weights that a worker has in main memory: those of the module, and those that are read for the next."""
FIXED_BYTES = 2 << 30
"""Python, torch, a plan, and the activations of a forward pass on a CPU."""


def memory_needed(jobs: Iterable[CheckpointJob]) -> int:
    """Return the bytes of main memory that a worker needs for the largest checkpoint of these jobs."""
    largest = max((job.checkpoint.size_bytes or 0 for job in jobs), default=0)
    return COPIES_ON_HOST * largest + FIXED_BYTES
