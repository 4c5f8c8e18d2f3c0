"""Tell which process listens on a port, from Linux's /proc; elsewhere nobody is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from milepost.text.safe_text import blanked

_PROC = Path("/proc")
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp; see proc_net_tcp(5)."""
_LOCAL, _STATE, _INODE = 1, 3, 9
_LONGEST = 120


class Holder(NamedTuple):
    """A process that listens on a port."""

    pid: int
    command: str


def holder_of(port: int) -> Holder | None:
    """Return the process that listens on a port; None where it is another user's, or cannot be told."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    if not sockets:
        return None
    for folder in _PROC.glob("[0-9]*"):
        if sockets.intersection(_open_files(folder)):
            return Holder(int(folder.name), _command(folder))
    return None


def _listening(port: int) -> Iterator[str]:
    """Yield the inodes of sockets that listen on a port."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[_STATE] == _LISTENS and int(fields[_LOCAL].rpartition(":")[2], 16) == port:
                yield fields[_INODE]


def _open_files(folder: Path) -> Iterator[str]:
    """Yield what the open files of a process are."""
    try:
        for name in os.listdir(folder / "fd"):
            yield os.readlink(folder / "fd" / name)
    except OSError:
        return


def _command(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "ended"
    text = blanked(" ".join(words)).strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
