"""Continue a run without its terminal: `milepost run --detach`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.errors import MilepostError
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write
from milepost.text.language import Phrase

OPTION = "--detach"
EARLY_S = 3.0
"""Time in which a run that cannot start ends, such as one with a mistyped name."""


@dataclass(frozen=True, slots=True)
class Detached:
    """A process in its own session, which a closed terminal does not end."""

    pid: int
    log: Path
    status: int | None
    """The exit status if the process has ended already, else None."""


def detach(folder: Path) -> Detached:
    """Start this very command line again, without `--detach`, with its output in a file of `folder`.

    Raises:
        MilepostError: the folder is in a bucket.
        StorageError: the folder cannot be written.
    """
    if in_bucket(folder):
        raise MilepostError(
            Phrase(
                "{option} keeps its log in the results folder, and {folder} is in a bucket",
                option=OPTION,
                folder=folder,
            ),
            "start the command without it, under nohup or in tmux",
        )
    log = folder / time.strftime("run-%Y%m%dT%H%M%S.log")
    words = [word for word in sys.argv[1:] if word != OPTION]
    try:
        output = inside.append(log)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with output:
        process = subprocess.Popen(
            [sys.executable, "-m", "milepost", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = process.wait(EARLY_S)
    except subprocess.TimeoutExpired:
        status = None
    return Detached(process.pid, log, status)
