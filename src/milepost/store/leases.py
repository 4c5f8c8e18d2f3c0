"""Share work between processes, so that several on one results folder never do the same.

    store/leases/<unit>.<generation>      holds the name of the process that has the unit

A lease is created with O_EXCL, in a bucket by a conditional put: exactly one process can do that. The newest
generation counts. If its process is gone, exactly one other process creates the next generation. No process
removes a lease to take it over, so two that notice at once cannot both win. A lease says who works on a unit,
not that it is done. The record says that, and a process that gets a lease first looks for it.

If a process is wrongly taken for dead (stopped with Ctrl-Z, or silent for more than a minute), a unit is done
twice. The last process finds the record and leaves it, or writes the same again: that only costs time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milepost.store import listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import cannot_write
from milepost.store.folder import ResultsFolder
from milepost.store.liveness import Watch
from milepost.store.workers import Worker


class Leases:
    """The leases of one results folder, as one worker sees and takes them."""

    def __init__(self, results: ResultsFolder, worker: Worker) -> None:
        self._folder = results.leases_folder
        self._workers = results.workers_folder
        self._worker = worker
        self.watch = Watch()
        """The other processes' leases, as this process has seen them."""
        try:
            inside.make_folder(self._folder)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    @contextmanager
    def hold(self, unit: str) -> Iterator[bool]:
        """Yield whether this process has the unit while the block runs; its end gives the unit back.

        Raises:
            StorageError: the disk is full or the folder cannot be written.
        """
        lease = self._take(unit)
        try:
            inside.look_again()  # the process that had the unit before may have done it
            yield lease is not None
        finally:
            if lease is not None:
                self._give_back(unit, lease)

    def others_at(self, prefix: str) -> bool:
        """Return whether another running process holds a unit whose name begins with `prefix`."""
        units = {name.rpartition(".")[0] for name in self._names() if name.startswith(prefix)}
        return any(self._holder(self._newest(unit)) not in (None, self._worker.process) for unit in units)

    def give_back_all(self) -> None:
        """Remove the leases that this process has left, as an interrupt can come just after taking one."""
        for name in self._names():
            lease = self._folder / name
            try:
                if _process_of(lease) == self._worker.process:
                    inside.remove(lease)
            except FileNotFoundError:
                continue  # given back by another process meanwhile

    def _take(self, unit: str) -> Path | None:
        newest = self._newest(unit)
        if newest is not None and self._holder(newest) is not None:
            return None
        lease = self._folder / f"{unit}.{_generation(newest.name) + 1 if newest else 1}"
        try:
            inside.create_with(lease, self._worker.process.encode())
        except FileExistsError:
            return None
        except OSError as error:
            raise cannot_write(lease, error) from error
        return lease

    def _give_back(self, unit: str, lease: Path) -> None:
        """Remove the newest generation last: while it is there, no process can start the count anew."""
        for generation in range(1, _generation(lease.name) + 1):
            inside.remove(self._folder / f"{unit}.{generation}")

    def _holder(self, lease: Path | None) -> str | None:
        """Return the running process that holds the lease; None if it is gone, or gave the lease back."""
        if lease is None:
            return None
        try:
            process = _process_of(lease)
        except FileNotFoundError:
            return None
        unit = lease.name.rpartition(".")[0]
        if not process:  # created this very moment, or its process was killed in it
            return "unknown" if self.watch.moves(f"unknown-{lease.name}", lease, unit) else None
        if process == self._worker.process:
            return process
        return process if self.watch.moves(process, self._workers / f"{process}.json", unit) else None

    def _newest(self, unit: str) -> Path | None:
        generations = [_generation(name) for name in self._names() if name.rpartition(".")[0] == unit]
        return self._folder / f"{unit}.{max(generations)}" if generations else None

    def _names(self) -> list[str]:
        return listing.names(self._folder)


def _process_of(lease: Path) -> str:
    return inside.read_bytes(lease).decode("utf-8", "replace")


def _generation(name: str) -> int:
    return int(name.rpartition(".")[2])
