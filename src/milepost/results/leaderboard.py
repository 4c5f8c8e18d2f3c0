"""Rank the training runs of several results folders, and published metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from milepost.analysis.common_labels import CommonLabels, with_labels
from milepost.analysis.leaderboard import At, Leaderboard, make_leaderboard
from milepost.analysis.leaderboard.entries import find_entries
from milepost.analysis.row import finite
from milepost.analysis.selection import select
from milepost.results.baselines import read_baselines
from milepost.store.doc_records import read_answers
from milepost.store.index import ResultsIndex
from milepost.store.task_metrics import EVERY
from milepost.types.metrics import Measurement


def leaderboard_of(
    indexes: Mapping[Path, ResultsIndex],
    *,
    baselines: Path | None = None,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    exclude: Sequence[str] = (),
    at: At = "last",
) -> Leaderboard:
    """Compare one checkpoint of each series of some results folders, and published metrics.

    Args:
        indexes: by results folder.
        baselines: a YAML file; see `read_baselines`.
        tasks, metrics, exclude, at: as of `analysis.leaderboard.entries.find_entries`.

    Raises:
        ResultsError: a folder without metrics or with a damaged record; else as `find_entries` and
            `read_baselines`.
    """
    # Choice metrics are most rows; without patterns they stand in no column.
    wanted = EVERY if baselines or metrics or exclude else ()
    rows_of = {folder: list(map(finite, select(index.metrics(wanted)))) for folder, index in indexes.items()}
    runs: dict[tuple[Path, str], list[Measurement]] = {}
    for folder, own in rows_of.items():
        for row in own:
            runs.setdefault((folder, row.series), []).append(row)
    labels = CommonLabels(runs.values())
    rows_of = {folder: list(map(labels.labelled, own)) for folder, own in rows_of.items()}
    found = find_entries(rows_of, tasks=tasks, metrics=metrics, exclude=exclude, at=at)
    published = read_baselines(baselines, found.all_columns) if baselines else []
    answers = [
        with_labels(read_answers(indexes[entry.results], f"{entry.series}/{entry.checkpoint}"), labels)
        for entry in found.entries
    ]
    return make_leaderboard(found, answers, published, at=at)
