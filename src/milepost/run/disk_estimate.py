"""Say before a long run how much work and disk space it takes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.plan.plan import Plan
from milepost.run.scoring.jobs import CheckpointJob
from milepost.text.byte_sizes import format_bytes
from milepost.text.language import _, ngettext

LONG_TOKENS = 2_000_000
"""Fewest tokens for which an estimate is shown."""

BYTES_PER_REQUEST = 10
"""9.5 measured: a log-likelihood of 8 bytes hardly compresses."""
BYTES_PER_DOC = 40
"""Measured with four choices: their filtered answers as JSON, two metrics."""
BYTES_PER_FILE = 2048


def disk_needed(plan: Plan) -> int:
    """Estimate the bytes of a checkpoint's records, less lm_eval's files, within a factor of two."""
    return sum(
        BYTES_PER_REQUEST * task.encoded.n_requests
        + BYTES_PER_DOC * task.n_docs
        + BYTES_PER_FILE * (len(task.shards) + 1)
        for task in plan.tasks
    )


def announce_work(jobs: Sequence[CheckpointJob], folder: Path) -> None:
    """Say how much work these unfinished jobs are, if it is much or the disk is too small."""
    needed = sum(disk_needed(job.plan) for job in jobs)
    free = None if in_bucket(folder) else shutil.disk_usage(folder).free
    n_tokens = sum(job.n_tokens for job in jobs)
    if free is not None and needed > free:
        line = _(
            "warning: the results may need {needed}, and {folder} has {free} free",
            needed=format_bytes(needed),
            folder=folder,
            free=format_bytes(free),
        )
    elif n_tokens >= LONG_TOKENS:
        line = ngettext(
            "{n} checkpoint, at most {tokens:,} tokens in all; results about {needed}",
            "{n} checkpoints, at most {tokens:,} tokens in all; results about {needed}",
            len(jobs),
            tokens=n_tokens,
            needed=format_bytes(needed),
        )
        if free is not None:
            line = _("{line}, {free} free", line=line, free=format_bytes(free))
    else:
        return
    print(line, file=sys.stderr, flush=True)
