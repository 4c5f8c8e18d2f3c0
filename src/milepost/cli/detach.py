"""Going on without the terminal: `milepost run --detach`."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from milepost.store import ResultsFolder

OPTION = "--detach"


@dataclass(frozen=True, slots=True)
class Detached:
    """A run of its own, in a session of its own: a closed terminal does not reach it."""

    pid: int
    log: Path


def detach(output_path: Path) -> Detached:
    """Start this very command line again, without `--detach`, with its output in the results folder.

    Raises:
        ResultsError: the results folder cannot be made.
    """
    results = ResultsFolder.create(output_path)
    log = results.path / time.strftime("run-%Y%m%dT%H%M%S.log")
    words = [word for word in sys.argv[1:] if word != OPTION]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "milepost", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Detached(process.pid, log)
