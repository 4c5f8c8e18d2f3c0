"""Select rows by patterns; without patterns, the few rows that summarise the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from milepost.analysis.metric_kinds import is_shown_beside_first
from milepost.errors import ResultsError
from milepost.text.language import Phrase
from milepost.text.name_matching import close_names, is_pattern, matches
from milepost.types.metrics import Measurement

Measured = TypeVar("Measured", bound=Measurement)
"""Measurements, or rows (which have intervals as well)."""


def select(
    rows: Sequence[Measured],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    series: Sequence[str] = (),
) -> list[Measured]:
    """Return the rows whose task, metric and series match the patterns (`mmlu_*`); no pattern matches all.

    A task is known by its name and, where it was asked in several settings, by its label (`arc_easy 5-shot`).

    Raises:
        ResultsError: there are no rows, or a pattern matches nothing; the hint lists existing names.
    """
    if not rows:
        raise ResultsError("these results hold no measurement yet", "`milepost run` writes them")
    picked = _matching(rows, "series", series)
    picked = _matching(picked, "task", tasks)
    return _matching(picked, "metric", metrics)


def overview(rows: Sequence[Measured]) -> list[Measured]:
    """Return the rows of groups, and of tasks that are in no group among the rows."""
    groups = {row.task for row in rows if row.kind == "group"}
    return [row for row in rows if row.kind == "group" or groups.isdisjoint(row.parents)]


def main_metrics(rows: Sequence[Measured]) -> list[Measured]:
    """Return the metric (and filter) that each task lists first, and F1 beside it."""
    main: dict[str, tuple[str, str]] = {}
    for row in rows:
        main.setdefault(row.task, (row.metric, row.filter))
    return [
        row for row in rows if main[row.task] == (row.metric, row.filter) or is_shown_beside_first(row.metric)
    ]


def summary_rows(
    rows: Sequence[Measured],
    *,
    tasks: Sequence[str] = (),
    metrics: Sequence[str] = (),
    series: Sequence[str] = (),
    subjects: bool = False,
) -> list[Measured]:
    """Select the rows that tables and charts show by default.

    Without `tasks`, only the `overview` (with `subjects`, every task); without `metrics`, only the
    `main_metrics`. Raises as `select`.
    """
    picked = select(rows, tasks=tasks, metrics=metrics, series=series)
    if not tasks and not subjects:
        picked = overview(picked)
    return picked if metrics else main_metrics(picked)


FIELDS = {"series": Phrase("series"), "task": Phrase("task"), "metric": Phrase("metric")}
"""Names of the fields that patterns select by, for people."""


def _matching(rows: Sequence[Measured], field: str, patterns: Sequence[str]) -> list[Measured]:
    if not patterns:
        return list(rows)
    fields = ("task", "label") if field == "task" else (field,)
    names = dict.fromkeys(getattr(row, of) for row in rows for of in fields)
    wanted: set[str] = set()
    for pattern in patterns:
        candidates = names if is_pattern(pattern) else {pattern} & names.keys()
        found = [name for name in candidates if matches(name, [pattern])]
        if not found:
            raise ResultsError(
                Phrase("no {what} matches `{pattern}`", what=FIELDS[field], pattern=pattern),
                _existing_names(pattern, list(names)),
            )
        wanted.update(found)
    return [row for row in rows if any(getattr(row, of) in wanted for of in fields)]


def _existing_names(pattern: str, names: list[str]) -> str:
    if close := close_names(pattern, names):
        return Phrase("nearest: {names}", names=", ".join(close))
    return Phrase("there are: {names}", names=", ".join([*names[:12], *(["..."] if len(names) > 12 else [])]))
