"""Check disk space and write permission of the results folder, our cache and the Hub's cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.doctor.finding import Finding
from milepost.files.cache import cache_folder
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import shown

_TIGHT = {"results": 1e9, "cache": 2e9, "Hub cache": 10e9}
"""Bytes free below which a run of usual size may fail: scores are small, checkpoints are not."""
_FULL = 50e6


def check_disk(results: Path) -> Iterator[Finding]:
    """Yield a finding for each place, also for places on one disk, since each has its own remedy."""
    from huggingface_hub import constants

    places = {
        "results": (results, Phrase("-o a folder on a larger disk")),
        "cache": (cache_folder(), Phrase("MILEPOST_CACHE=a folder on a larger disk")),
        "Hub cache": (
            Path(constants.HF_HUB_CACHE),
            Phrase("HF_HOME=a folder on a larger disk, or hf cache prune"),
        ),
    }
    for name, (folder, remedy) in places.items():
        if in_bucket(folder):
            continue  # `milepost run` tries to write there before it begins
        yield _check(name, folder.expanduser().absolute(), remedy)


def _check(name: str, folder: Path, remedy: str) -> Finding:
    check, where = Phrase("disk: {name}", name=Phrase(name)), shown(folder)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"milepost")
            file.flush()
    except OSError as error:
        return Finding(
            check,
            "broken",
            Phrase("{where} cannot be written: {strerror}", where=where, strerror=error.strerror or error),
            remedy,
        )
    told = Phrase("{where}, {free} free", where=where, free=format_bytes(free))
    if free < _FULL:
        return Finding(check, "broken", told, remedy)
    return Finding(
        check, "warning" if free < _TIGHT[name] else "ok", told, remedy if free < _TIGHT[name] else None
    )
