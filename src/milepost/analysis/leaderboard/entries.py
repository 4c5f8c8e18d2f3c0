"""Choose the entries of a leaderboard: one checkpoint of each training run, with its metrics.

The choice of the checkpoint changes the result. The last one does not depend on luck; the best one was chosen
by the same docs that rank it, which flatters runs with many checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from milepost.analysis.metric_kinds import value_range
from milepost.analysis.selection import overview, select
from milepost.errors import ResultsError
from milepost.text.folder_names import short_names
from milepost.text.language import Phrase
from milepost.text.name_matching import close_or_first, matches
from milepost.types.checkpoints import step_order
from milepost.types.metrics import Measurement

At = Literal["best", "last"] | int
"""The checkpoint of a run: its best, its last, or the one at a step."""


class BoardColumn(NamedTuple):
    """A metric by which models are compared."""

    task: str
    """As it was asked; see `Measurement.label`."""
    metric: str
    filter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A checkpoint that represents its series."""

    name: str
    """The series; with its results folder if several folders have a series of this name."""
    results: Path
    series: str
    checkpoint: str
    step: int | None
    rows: dict[BoardColumn, Measurement]
    """The rows with a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A model with published metrics."""

    name: str
    source: str | None
    scores: dict[BoardColumn, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrants:
    """Entries, and the columns by which they are compared."""

    entries: tuple[Entry, ...]
    columns: tuple[BoardColumn, ...]
    all_columns: tuple[BoardColumn, ...]
    """All columns, also those that the patterns exclude; the first of a task is its main metric."""
    lacking: tuple[str, ...] = ()
    """Names of the series that have none of the columns."""


def find_entries(
    rows_of: Mapping[Path, Sequence[Measurement]],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    exclude: Sequence[str] = (),
    at: At = "last",
) -> Entrants:
    """Return one entry per series of the results folders.

    Args:
        rows_of: results folder to all of its rows.
        tasks: patterns of tasks and groups; by default, groups and tasks that are in no group.
        metrics: patterns of a metric or of `task.metric`; by default, each task's first metric.
        exclude: patterns to leave out: a task, `task.metric`, a series or `series/checkpoint`.
        at: the checkpoint of each series.

    Raises:
        ResultsError: a pattern matches nothing, or a series has no checkpoint at the step.
    """
    measured = [(folder, row) for folder, of_folder in rows_of.items() for row in of_folder]
    every = [row for _, row in measured]
    known = list(dict.fromkeys(_column(row) for row in every if row.higher_is_better is not None))
    names = _names(measured)
    for pattern in exclude:
        _check_matches(
            pattern, "--exclude", [*_words(known), *names.values(), *_checkpoints(measured, names)]
        )
    for pattern in metrics:
        _check_matches(pattern, "--metrics", [*_words(known), *(column.metric for column in known)])
    columns = _chosen_columns(every, known, tasks, metrics, exclude)
    entries, lacking = [], []
    for (folder, series), name in names.items():
        rows = [
            row
            for home, row in measured
            if home == folder and row.series == series and not matches(f"{name}/{row.checkpoint}", exclude)
        ]
        if not rows or matches(name, exclude):
            continue
        entry = _entry(folder, name, rows, columns, at)
        if entry is None:
            lacking.append(name)
        else:
            entries.append(entry)
    if not entries or not columns:
        raise ResultsError("nothing is left to compare", "exclude fewer models or metrics")
    return Entrants(
        entries=tuple(entries), columns=tuple(columns), all_columns=tuple(known), lacking=tuple(lacking)
    )


def _chosen_columns(
    every: Sequence[Measurement],
    known: Sequence[BoardColumn],
    tasks: Sequence[str],
    metrics: Sequence[str],
    exclude: Sequence[str],
) -> list[BoardColumn]:
    shown = select(every, tasks=tasks) if tasks else overview(every)
    of_shown = {_column(row) for row in shown}
    candidates = [column for column in known if column in of_shown]
    if metrics:
        candidates = [
            column
            for column in candidates
            if matches(column.metric, metrics) or matches(_word(column), metrics)
        ]
    else:
        first: dict[str, BoardColumn] = {}
        for column in known:
            first.setdefault(column.task, column)
        candidates = [column for column in candidates if first[column.task] == column]
    return [
        column
        for column in candidates
        if not (matches(column.task, exclude) or matches(_word(column), exclude))
    ]


def _entry(
    folder: Path, name: str, rows: Sequence[Measurement], columns: Sequence[BoardColumn], at: At
) -> Entry | None:
    """Return the chosen checkpoint of a series; None if it has none of the columns."""
    by_checkpoint: dict[str, dict[BoardColumn, Measurement]] = {}
    for row in rows:
        if _column(row) in columns and row.value is not None:
            by_checkpoint.setdefault(row.checkpoint, {})[_column(row)] = row
    if not by_checkpoint:
        return None
    chosen = _choose(name, by_checkpoint, columns, at)
    some_row = next(iter(by_checkpoint[chosen].values()))
    return Entry(
        name=name,
        results=folder,
        series=some_row.series,
        checkpoint=chosen,
        step=some_row.step,
        rows=by_checkpoint[chosen],
    )


def _choose(
    name: str, found: dict[str, dict[BoardColumn, Measurement]], columns: Sequence[BoardColumn], at: At
) -> str:
    steps = {checkpoint: next(iter(rows.values())).step for checkpoint, rows in found.items()}
    if at == "last":
        return max(steps, key=lambda checkpoint: step_order(steps[checkpoint], ""))
    if at == "best":
        ranges = {column: _range(found, column) for column in columns}
        return max(found, key=lambda checkpoint: _mean_place(found[checkpoint], ranges))
    at_step = [checkpoint for checkpoint, step in steps.items() if step == at]
    if not at_step:
        known = sorted(step for step in steps.values() if step is not None)
        near = sorted(known, key=lambda step: abs(step - at))[:5]
        raise ResultsError(
            Phrase("{name} has no metrics at step {at}", name=name, at=at),
            Phrase("nearest: {value}", value=", ".join(map(str, sorted(near))) or "none"),
        )
    return at_step[0]


def _range(found: dict[str, dict[BoardColumn, Measurement]], column: BoardColumn) -> tuple[float, float]:
    values = [rows[column].value for rows in found.values() if column in rows]
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _mean_place(
    rows: dict[BoardColumn, Measurement], ranges: dict[BoardColumn, tuple[float, float]]
) -> float:
    """Return the mean position of a checkpoint between its run's worst (0) and best (1) over all metrics."""
    places = []
    for column, row in rows.items():
        low, high = ranges[column]
        if row.value is not None and high > low:
            place = (row.value - low) / (high - low)
            places.append(place if row.higher_is_better else 1 - place)
    return sum(places) / len(places) if places else 0.0


def limits(column: BoardColumn, entries: Sequence[Entry]) -> tuple[float, float]:
    """Return the score of guessing and the best possible score; NaN if the metric has no such level."""
    of_column = [entry.rows[column] for entry in entries if column in entry.rows]
    chance = next((row.chance for row in of_column if row.chance is not None), math.nan)
    ceiling = value_range(column.metric)[1]
    if not of_column or not of_column[0].higher_is_better or math.isinf(ceiling):
        return math.nan, math.nan
    return chance, ceiling


def _names(measured: Sequence[tuple[Path, Measurement]]) -> dict[tuple[Path, str], str]:
    keys = list(dict.fromkeys((folder, row.series) for folder, row in measured))
    series = [name for _, name in keys]
    folders = list(dict.fromkeys(folder for folder, _ in keys))
    short = dict(zip(folders, short_names(folders), strict=True))
    return {
        (folder, name): name if series.count(name) == 1 else f"{short[folder]}:{name}"
        for folder, name in keys
    }


def _checkpoints(
    measured: Sequence[tuple[Path, Measurement]], names: dict[tuple[Path, str], str]
) -> set[str]:
    return {f"{names[folder, row.series]}/{row.checkpoint}" for folder, row in measured}


def _column(row: Measurement) -> BoardColumn:
    return BoardColumn(row.label, row.metric, row.filter)


def _word(column: BoardColumn) -> str:
    return f"{column.task}.{column.metric}"


def _words(columns: Sequence[BoardColumn]) -> list[str]:
    return [word for column in columns for word in (column.task, _word(column))]


def _check_matches(pattern: str, option: str, names: Sequence[str]) -> None:
    if not any(matches(name, [pattern]) for name in names):
        raise ResultsError(
            Phrase("{option} {pattern} matches nothing", option=option, pattern=pattern),
            Phrase("there are: {names}", names=", ".join(close_or_first(pattern, names))),
        )
