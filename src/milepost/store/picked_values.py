"""Read the values of docs that follow from the picks: a file of a checkpoint has those of all tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from milepost.store import file_state
from milepost.store.folder import ResultsFolder
from milepost.store.picks import read_picks

if TYPE_CHECKING:
    import numpy.typing as npt

PICKED = {
    "acc": "right",
    "acc_norm": "right_norm",
    "acc_tokens": "right_tokens",
    "acc_bytes": "right_bytes",
    "prob_right": "prob_right",
    "bpb_right": "bpb_right",
    "margin": "margin",
}
"""Metrics that are means over the docs of a column of picks."""

File = tuple[str, str, str]
"""Plan, model and numerics, which name a file of picks."""


class PickedValues:
    """Reads picks of a results folder; each file once.

    Args:
        results: the folder.
        metrics: those that will be needed.
    """

    def __init__(self, results: ResultsFolder, metrics: Collection[str]) -> None:
        self._results = results
        self._columns = tuple(column for metric, column in PICKED.items() if metric in metrics)
        self._files: dict[File, dict[str, dict[str, npt.NDArray[Any]]]] = {}

    def of(self, file: File, task: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return `doc_id` and the columns of `PICKED` as arrays [D]; None where the task has no picks.

        Raises:
            ResultsError: a damaged record.
        """
        if file not in self._files:
            path = self._results.picks_path(*file)
            self._files[file] = read_picks(path, self._columns) if file_state.exists(path) else {}
        return self._files[file].get(task)
