"""Check before any work that workers on other hosts see the results folder and have the same software."""

from __future__ import annotations

import logging
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from milepost.errors import MilepostError
from milepost.run.executors.messages import Joined
from milepost.run.software_versions import COMPUTING, versions
from milepost.store import ResultsFolder
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import write_atomically
from milepost.text.language import Phrase

PROBE = ".milepost-probe"
"""Name of the probe file in the results folder."""

logger = logging.getLogger("milepost.run")


@contextmanager
def probe_file(results: ResultsFolder) -> Iterator[str]:
    """Yield the content of a probe file, which is in the results folder while the block runs."""
    token = secrets.token_hex()
    path = results.path / PROBE
    write_atomically(path, token.encode())
    try:
        yield token
    finally:
        inside.remove(path)


def check_joined(worker: Joined) -> None:
    """Check a worker that has joined, before it gets work.

    Raises:
        MilepostError: it has another Milepost or Python, or does not see the results folder.
    """
    ours = {**versions(), "python": platform.python_version()}
    theirs = dict(worker.versions)
    differing = {name: theirs.get(name, "none") for name in ours if theirs.get(name) != ours[name]}
    shown = ", ".join(f"{name} {ours[name]} here and {other} there" for name, other in differing.items())
    if "milepost" in differing or _minor(theirs["python"]) != _minor(ours["python"]):
        raise MilepostError(
            Phrase("{host} has other software: {shown}", host=worker.host, shown=shown),
            "install the same Milepost and Python on every host",
        )
    if any(name in differing for name in COMPUTING):
        logger.warning("%s has other software, which may change scores by rounding: %s", worker.host, shown)
    if not worker.sees_results:
        raise MilepostError(
            Phrase("{host} does not see the results folder", host=worker.host),
            "use a folder that every host mounts under the same path, or with Ray pass --send-records",
        )


def _minor(version: str) -> str:
    """Return `3.11` of `3.11.7`."""
    return ".".join(version.split(".")[:2])
