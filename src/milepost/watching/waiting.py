"""Wait for a run to change: the system notifies (inotify and the like) where it can, else by looking.

The system knows nothing of what other machines write to a network disk, so folders there are only looked at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

MOUNTS = Path("/proc/self/mountinfo")
NETWORK_DISKS = ("nfs", "cifs", "smb", "lustre", "gpfs", "ceph", "9p", "afs", "beegfs", "glusterfs", "fuse")
"""Beginnings of the names of their file systems."""
UNNOTIFIED_S = 60.0
"""Time between two looks where nothing notifies of changes."""
NOTIFIED_S = 1800.0
"""The same where the system notifies: it may drop a message."""

SHORTEST_S = 0.3


def is_on_a_network_disk(folder: Path, mounts: str) -> bool:
    """Return whether a folder lies on a disk of another machine.

    Args:
        folder: an absolute path.
        mounts: the text of `/proc/self/mountinfo` (proc(5)).
    """
    kinds = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kinds[before.split()[4].encode().decode("unicode_escape")] = after.split()[0]
    home = next((str(place) for place in (folder, *folder.parents) if str(place) in kinds), None)
    return home is not None and kinds[home].startswith(NETWORK_DISKS)


class Waiter:
    """Sleeps until something below some folders changes, or the time is up. Use it as a context manager."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [folder.absolute() for folder in folders]
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._listening: set[Path] = set()

    def __enter__(self) -> Waiter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    @property
    def longest_s(self) -> float:
        """The longest time to wait without looking."""
        is_notified = bool(self._folders) and all(folder in self._listening for folder in self._folders)
        return NOTIFIED_S if is_notified else UNNOTIFIED_S

    def listen(self) -> None:
        """Ask the system to notify of changes in the folders that exist; call it before looking at them."""
        for folder in self._folders:
            if folder not in self._listening and folder.is_dir() and not _on_a_network_disk(folder):
                threading.Thread(target=self._notify, args=(folder,), daemon=True).start()
                self._listening.add(folder)

    def wait(self, seconds: float) -> None:
        """Wait until something has changed since the last call, at most `seconds`.

        The wait takes at least a moment: a large file changes all the time while it is being written.
        """
        time.sleep(min(seconds, SHORTEST_S))
        self._changed.wait(max(0.0, seconds - SHORTEST_S))
        self._changed.clear()

    def _notify(self, folder: Path) -> None:
        from watchfiles import watch

        try:
            for _ in watch(folder, stop_event=self._stop, debounce=200, raise_interrupt=False):
                self._changed.set()
        except (FileNotFoundError, OSError):  # no more inotify watches, or the folder went away
            self._listening.discard(folder)


def _on_a_network_disk(folder: Path) -> bool:
    return MOUNTS.exists() and is_on_a_network_disk(folder.resolve(), MOUNTS.read_text("utf-8"))
