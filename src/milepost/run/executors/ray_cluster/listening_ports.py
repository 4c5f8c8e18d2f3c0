"""Find the ports on which processes that this one started accept connections."""

from __future__ import annotations

import socket
from pathlib import Path

_LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp; see proc(5)."""


def listening_ports() -> list[str]:
    """Return `127.0.0.1:6379` for every listening socket of processes below this one; [] without /proc."""
    inodes = {inode for pid in _descendants() for inode in _sockets_of(pid)}
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            lines = Path("/proc/net", table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                found.add(_address(fields[1], family))
    return [f"{host}:{port}" for host, port in sorted(found)]


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile
    own = int(Path("/proc/self").resolve().name) if Path("/proc/self").exists() else -1
    found, added = {own}, {own}
    while added:
        added = {pid for pid, parent in parents.items() if parent in added} - found
        found |= added
    return found


def _sockets_of(pid: int) -> set[str]:
    found = set()
    try:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            target = str(handle.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # it ended, or belongs to somebody else
    return found


def _address(text: str, family: socket.AddressFamily) -> tuple[str, int]:
    """Read `0100007F:1F90`: each group of four bytes is in the byte order of the machine."""
    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
    return socket.inet_ntop(family, b"".join(words)), int(port, 16)
