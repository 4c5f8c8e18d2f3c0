"""What stands in a leaderboard: of each training run one checkpoint, with its figures.

Which checkpoint is a choice that changes the result. The last one is free of luck; the best one was chosen by
the very docs it is then judged by, so it flatters runs with many checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from milepost.analysis.metric_kinds import value_range
from milepost.analysis.row import Row
from milepost.analysis.selection import overview, select
from milepost.errors import ResultsError
from milepost.name_matching import close_or_first, matches
from milepost.types import step_order

At = Literal["best", "last"] | int
"""Which checkpoint of a run: its best, its last, or that of a step."""


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """A figure by which models are compared."""

    task: str
    metric: str
    filter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One checkpoint of one series."""

    name: str
    """The series; with its results folder where several have one of this name."""
    results: Path
    series: str
    checkpoint: str
    step: int | None
    rows: dict[BoardColumn, Row]
    """Figures that are numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A model whose metrics somebody else measured."""

    name: str
    source: str | None
    scores: dict[BoardColumn, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrants:
    """Entries and the columns that they are compared by."""

    entries: tuple[Entry, ...]
    columns: tuple[BoardColumn, ...]
    all_columns: tuple[BoardColumn, ...]
    """Those that the patterns left out as well, in order; the first of a task is its main figure."""


def find_entries(
    rows_of: Mapping[Path, Sequence[Row]],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    exclude: Sequence[str] = (),
    at: At = "last",
) -> Entrants:
    """Return one entry per series of the results folders.

    Args:
        rows_of: results folder to all of its rows.
        tasks: patterns of tasks and groups; without any, groups and the tasks that no group sums up.
        metrics: patterns of a metric or of `task.metric`; without any, each task's first metric.
        exclude: patterns of what is left out: a task, `task.metric`, a series or `series/checkpoint`.
        at: which checkpoint of each series.

    Raises:
        ResultsError: a pattern that matches nothing, a step that a series lacks.
    """
    measured = [(folder, row) for folder, rows in rows_of.items() for row in rows]
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
    entries = []
    for (folder, series), name in names.items():
        own = [
            row
            for home, row in measured
            if home == folder and row.series == series and not matches(f"{name}/{row.checkpoint}", exclude)
        ]
        if own and not matches(name, exclude):
            entries.append(_entry(folder, name, own, columns, at))
    if not entries or not columns:
        raise ResultsError("nothing is left to compare", "leave out fewer models or figures")
    return Entrants(entries=tuple(entries), columns=tuple(columns), all_columns=tuple(known))


def _chosen_columns(
    every: Sequence[Row],
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
            one for one in candidates if matches(one.metric, metrics) or matches(_word(one), metrics)
        ]
    else:
        first: dict[str, BoardColumn] = {}
        for column in known:
            first.setdefault(column.task, column)
        candidates = [one for one in candidates if first[one.task] == one]
    return [one for one in candidates if not (matches(one.task, exclude) or matches(_word(one), exclude))]


def _entry(folder: Path, name: str, own: Sequence[Row], columns: Sequence[BoardColumn], at: At) -> Entry:
    by_checkpoint: dict[str, dict[BoardColumn, Row]] = {}
    for row in own:
        if _column(row) in columns and row.value is not None:
            by_checkpoint.setdefault(row.checkpoint, {})[_column(row)] = row
    if not by_checkpoint:
        raise ResultsError(f"{name} has none of the figures that are compared", "`milepost show --all`")
    chosen = _choose(name, by_checkpoint, columns, at)
    some = next(iter(by_checkpoint[chosen].values()))
    return Entry(
        name=name,
        results=folder,
        series=some.series,
        checkpoint=chosen,
        step=some.step,
        rows=by_checkpoint[chosen],
    )


def _choose(
    name: str, found: dict[str, dict[BoardColumn, Row]], columns: Sequence[BoardColumn], at: At
) -> str:
    steps = {checkpoint: next(iter(rows.values())).step for checkpoint, rows in found.items()}
    if at == "last":
        return max(steps, key=lambda checkpoint: step_order(steps[checkpoint], ""))
    if at == "best":
        ranges = {column: _range(found, column) for column in columns}
        return max(found, key=lambda one: _mean_place(found[one], ranges))
    at_step = [checkpoint for checkpoint, step in steps.items() if step == at]
    if not at_step:
        there = sorted(step for step in steps.values() if step is not None)
        near = sorted(there, key=lambda step: abs(step - at))[:5]
        raise ResultsError(
            f"{name} has no figures at step {at}", f"nearest: {', '.join(map(str, sorted(near))) or 'none'}"
        )
    return at_step[0]


def _range(found: dict[str, dict[BoardColumn, Row]], column: BoardColumn) -> tuple[float, float]:
    values = [own[column].value for own in found.values() if column in own]
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else (0.0, 0.0)


def _mean_place(own: dict[BoardColumn, Row], ranges: dict[BoardColumn, tuple[float, float]]) -> float:
    """0 to 1: where a checkpoint stands between its run's worst and best, over all figures."""
    places = []
    for column, row in own.items():
        low, high = ranges[column]
        if row.value is not None and high > low:
            place = (row.value - low) / (high - low)
            places.append(place if row.higher_is_better else 1 - place)
    return sum(places) / len(places) if places else 0.0


def limits(column: BoardColumn, entries: Sequence[Entry]) -> tuple[float, float]:
    """(what guessing scores, the best that can be scored); NaN where the metric has no such level."""
    of_column = [entry.rows[column] for entry in entries if column in entry.rows]
    chance = next((row.chance for row in of_column if row.chance is not None), math.nan)
    ceiling = value_range(column.metric)[1]
    if not of_column or not of_column[0].higher_is_better or math.isinf(ceiling):
        return math.nan, math.nan
    return chance, ceiling


def _names(measured: Sequence[tuple[Path, Row]]) -> dict[tuple[Path, str], str]:
    keys = list(dict.fromkeys((folder, row.series) for folder, row in measured))
    series = [name for _, name in keys]
    return {
        (folder, name): name if series.count(name) == 1 else f"{folder.name}:{name}" for folder, name in keys
    }


def _checkpoints(measured: Sequence[tuple[Path, Row]], names: dict[tuple[Path, str], str]) -> set[str]:
    return {f"{names[folder, row.series]}/{row.checkpoint}" for folder, row in measured}


def _column(row: Row) -> BoardColumn:
    return BoardColumn(row.task, row.metric, row.filter)


def _word(column: BoardColumn) -> str:
    return f"{column.task}.{column.metric}"


def _words(columns: Sequence[BoardColumn]) -> list[str]:
    return [word for column in columns for word in (column.task, _word(column))]


def _check_matches(pattern: str, option: str, names: Sequence[str]) -> None:
    if not any(matches(name, [pattern]) for name in names):
        raise ResultsError(
            f"{option} {pattern} matches nothing",
            f"there are: {', '.join(close_or_first(pattern, names))}",
        )
