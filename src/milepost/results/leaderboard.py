"""Rank the training runs of several results folders, and published metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from milepost.analysis import Row
from milepost.analysis.common_labels import CommonLabels, with_labels
from milepost.analysis.leaderboard import At, Leaderboard, make_leaderboard
from milepost.analysis.leaderboard.entries import find_entries
from milepost.results.baselines import read_baselines
from milepost.results.selection import select_all_rows
from milepost.store.doc_records import read_answers
from milepost.store.index import ResultsIndex


def read_leaderboard(
    folders: Sequence[Path],
    *,
    baselines: Path | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    exclude: Sequence[str] = (),
    at: At = "last",
) -> Leaderboard:
    """Compare one checkpoint of each series of some results folders, and published metrics.

    Args:
        folders: results folders.
        baselines: a YAML file; see `read_baselines`.
        tasks, metrics, exclude, at: as of `analysis.leaderboard.entries.find_entries`.

    Raises:
        ResultsError: a folder without metrics or with a damaged record; else as `find_entries` and
            `read_baselines`.
    """
    indexes = {folder: ResultsIndex.open(folder) for folder in folders}
    rows_of = {folder: select_all_rows(index) for folder, index in indexes.items()}
    runs: dict[tuple[Path, str], list[Row]] = {}
    for folder, rows in rows_of.items():
        for row in rows:
            runs.setdefault((folder, row.series), []).append(row)
    labels = CommonLabels(runs.values())
    rows_of = {folder: list(map(labels.labelled, rows)) for folder, rows in rows_of.items()}
    found = find_entries(rows_of, tasks=tasks, metrics=metrics, exclude=exclude, at=at)
    published = read_baselines(baselines, found.all_columns) if baselines else []
    answers = [
        with_labels(read_answers(indexes[entry.results], f"{entry.series}/{entry.checkpoint}"), labels)
        for entry in found.entries
    ]
    return make_leaderboard(found, answers, published, at=at)
