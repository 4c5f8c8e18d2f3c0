"""Say how much of the disk the copies of what lies in buckets take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from milepost.doctor.finding import Finding
from milepost.files.cache import FILES_OF_BUCKETS, KEPT_DAYS, RECORDS_OF_BUCKETS, cache_folder
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import Phrase
from milepost.text.messages import shown

_LARGE = 50e9


def check_bucket_cache() -> Iterator[Finding]:
    """Yield the size of each folder with copies, and the command that removes a large one."""
    for name, what in ((FILES_OF_BUCKETS, Phrase("checkpoints")), (RECORDS_OF_BUCKETS, Phrase("records"))):
        folder = cache_folder() / name
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        if not sizes:
            continue
        told = Phrase(
            "{folder}: copies of {what}, {n} files, {size}",
            folder=shown(folder),
            what=what,
            n=len(sizes),
            size=format_bytes(sum(sizes)),
        )
        is_large = sum(sizes) > _LARGE
        yield Finding(
            "copies of buckets",
            "warning" if is_large else "ok",
            Phrase("{told}; what is not used for {days} days is removed", told=told, days=KEPT_DAYS),
            shlex.join(["rm", "-r", str(folder)]) if is_large else None,
        )
