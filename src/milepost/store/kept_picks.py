"""Keep what was read of picks: a server reads the same files again and again, of which few are new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milepost.store import file_state
from milepost.store.picks import read_picks

if TYPE_CHECKING:
    import numpy.typing as npt

OfTasks = dict[str, dict[str, "npt.NDArray[Any]"]]
"""By task, then column, the arrays [D] of `read_picks`."""
MOST_BYTES = 64_000_000


class KeptPicks:
    """Reads the same columns of every file; those that were asked for last stay in memory.

    Args:
        columns: as of `read_picks`.
        most_bytes: of the arrays that are kept.
    """

    def __init__(self, columns: Sequence[str], most_bytes: int = MOST_BYTES) -> None:
        self._columns = tuple(columns)
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Path, tuple[file_state.Version, OfTasks, int]] = OrderedDict()
        self._n_bytes = 0

    def read(self, path: Path) -> OfTasks:
        """Return the picks of all tasks of a file as it is now. Raises: ResultsError as of `read_picks`."""
        try:
            version = file_state.version_of(path)
        except OSError:
            return read_picks(path, self._columns)
        if path in self._kept and self._kept[path][0] == version:
            self._kept.move_to_end(path)
            return self._kept[path][1]
        found = read_picks(path, self._columns)
        self._n_bytes -= self._kept.pop(path)[2] if path in self._kept else 0
        size = sum(array.nbytes for of_task in found.values() for array in of_task.values())
        self._kept[path] = version, found, size
        self._n_bytes += size
        while self._n_bytes > self._most_bytes:
            self._n_bytes -= self._kept.popitem(last=False)[1][2]
        return found
