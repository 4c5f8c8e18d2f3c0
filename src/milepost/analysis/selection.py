"""Which rows a reader wants to see: by pattern, or, unasked, the few figures that sum up the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from milepost.errors import ResultsError
from milepost.name_matching import close_names, matches
from milepost.types import Measurement

Figure = TypeVar("Figure", bound=Measurement)
"""Measurements as stored, or rows, which have intervals as well."""


def select(
    rows: Sequence[Figure],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    series: Sequence[str] = (),
) -> list[Figure]:
    """The rows whose task, metric and series each match one of the patterns (`mmlu_*`); no pattern, no limit.

    Raises:
        ResultsError: there are no rows at all, or a pattern matches nothing; the hint names what there is.
    """
    if not rows:
        raise ResultsError("these results hold no measurement yet", "`milepost run` writes them")
    picked = _matching(rows, "series", series)
    picked = _matching(picked, "task", tasks)
    return _matching(picked, "metric", metrics)


def overview(rows: Sequence[Figure]) -> list[Figure]:
    """Groups, and the tasks that no group among the rows sums up."""
    groups = {row.task for row in rows if row.kind == "group"}
    return [row for row in rows if row.kind == "group" or groups.isdisjoint(row.parents)]


def main_metrics(rows: Sequence[Figure]) -> list[Figure]:
    """One figure per task: the metric (and filter) that the task lists first."""
    main: dict[str, tuple[str, str]] = {}
    for row in rows:
        main.setdefault(row.task, (row.metric, row.filter))
    return [row for row in rows if main[row.task] == (row.metric, row.filter)]


def summary_rows(
    rows: Sequence[Figure],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    series: Sequence[str] = (),
    subjects: bool = False,
) -> list[Figure]:
    """What tables and charts show: `select`, then as few figures as answer the question.

    Without `tasks`, only the `overview` (with `subjects`, every task); without `metrics`, only the
    `main_metrics`. Raises as `select`.
    """
    picked = select(rows, tasks=tasks, metrics=metrics, series=series)
    if not tasks and not subjects:
        picked = overview(picked)
    return picked if metrics else main_metrics(picked)


def _matching(rows: Sequence[Figure], field: str, patterns: Sequence[str]) -> list[Figure]:
    if not patterns:
        return list(rows)
    names = list(dict.fromkeys(getattr(row, field) for row in rows))
    wanted: set[str] = set()
    for pattern in patterns:
        hits = [name for name in names if matches(name, [pattern])]
        if not hits:
            raise ResultsError(f"no {field} matches `{pattern}`", _what_there_is(pattern, names))
        wanted.update(hits)
    return [row for row in rows if getattr(row, field) in wanted]


def _what_there_is(pattern: str, names: list[str]) -> str:
    if close := close_names(pattern, names):
        return f"nearest: {', '.join(close)}"
    return f"there are: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"
