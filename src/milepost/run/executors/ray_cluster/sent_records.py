"""Send records from a worker that does not see the results folder of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from milepost.run.executors.messages import Event, Joined, LogText, Records, Said, UnitStored
from milepost.store import listing
from milepost.store.layout import Layout


class SendingRecords:
    """Tells events, and before each what was written to a results folder that only this worker sees."""

    def __init__(self, results: Path, tell: Callable[[Event], None]) -> None:
        self._results = results
        self._tell = tell
        self._sent: set[Path] = set()
        self._log_sizes: dict[Path, int] = {}

    def __call__(self, event: Event) -> None:
        if not isinstance(event, (Joined, Said)):
            files = listing.files_below(Layout(self._results).folder_of("scores"), "*.parquet")
            new = [path for path in files if path not in self._sent]
            self._sent.update(new)
            if new:
                self._tell(
                    Records(tuple((str(path.relative_to(self._results)), path.read_bytes()) for path in new))
                )
        if isinstance(event, UnitStored):
            for log in sorted(self._results.glob("*/*/evaluation.log")):
                with log.open("rb") as file:
                    file.seek(self._log_sizes.get(log, 0))
                    text = file.read()
                self._log_sizes[log] = self._log_sizes.get(log, 0) + len(text)
                if text:
                    self._tell(LogText(str(log.relative_to(self._results)), text))
        self._tell(event)
