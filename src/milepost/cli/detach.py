"""Going on without the terminal: `milepost run --detach`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write

OPTION = "--detach"
EARLY_S = 3.0
"""So long we watch whether it goes on at all: a mistyped name is found in less."""


@dataclass(frozen=True, slots=True)
class Detached:
    """A run of its own, in a session of its own: a closed terminal does not reach it."""

    pid: int
    log: Path
    status: int | None
    """Its exit status if it has ended already, else None."""


def detach(folder: Path) -> Detached:
    """Start this very command line again, without `--detach`, with its output in a file of `folder`.

    Raises:
        StorageError: the folder cannot be written.
    """
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
