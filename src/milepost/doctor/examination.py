"""Run all checks, in the order of the report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from milepost.doctor.bucket_cache import check_bucket_cache
from milepost.doctor.disk import check_disk
from milepost.doctor.finding import Finding
from milepost.doctor.gpu import check_gpu
from milepost.doctor.hub_cache import check_hub_cache
from milepost.doctor.machine import check_device, check_lm_eval, check_python, check_torch
from milepost.doctor.mirror import check_mirror


def examine(results: Path | None = None, *, deep: bool = False) -> Iterator[Finding]:
    """Look at everything a run needs; a few seconds, and as long as reading the cache takes with `deep`.

    Args:
        results: the output folder whose disk is looked at; None for the current folder.
        deep: hash every file of the Hub cache, instead of comparing sizes and the hashes of small files.
    """
    yield check_python()
    yield check_torch()
    yield from check_device()
    yield from check_gpu()
    yield check_lm_eval()
    yield from check_mirror()
    yield from check_hub_cache(deep=deep)
    yield from check_bucket_cache()
    yield from check_disk(results or Path())
