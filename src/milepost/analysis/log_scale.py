"""Which figures of a results folder are perplexities, whatever they are called: their curves are ratios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from milepost.analysis.choice_metrics import HIGHER_IS_BETTER as FREE
from milepost.analysis.doc_values import EXPONENTIAL, read_curve
from milepost.analysis.metric_kinds import is_proportion, is_ratio_scale
from milepost.store.doc_history import DocHistory
from milepost.store.folder import ResultsFolder
from milepost.store.reading import Current

CurveKey = tuple[str, str, str, str]
"""Series, task, metric and filter."""


def on_log_scale(results: ResultsFolder, current: Sequence[Current]) -> set[CurveKey]:
    """The figures whose trend is to be tested as logarithms: e to the power of a mean over docs.

    lm_eval's own are known by name. Of any other metric the docs of the last checkpoint tell it, by the one
    reading that gives the figure (`doc_values`). A group's are those of its tasks.

    Raises:
        ResultsError: a damaged record.
    """
    last: dict[tuple[str, str], Current] = {(each.series, each.task): each for each in current}
    metrics = {row["metric"] for each in last.values() for row in each.rows}
    history = DocHistory(results, last.values(), metrics)
    found: set[CurveKey] = set()
    for (series, task), each in last.items():
        for row in each.rows:
            if is_ratio_scale(row["metric"]) or (row["kind"] == "task" and _by_its_docs(history, each, row)):
                found.add((series, task, row["metric"], row["filter"]))
                found |= {(series, group, row["metric"], row["filter"]) for group in row["parents"]}
    return found


def _by_its_docs(history: DocHistory, each: Current, row: dict[str, Any]) -> bool:
    metric, value = str(row["metric"]), row["value"]
    if metric in FREE or is_proportion(metric) or not isinstance(value, float):
        return False
    parts = history.parts(each.series, each.task, metric, str(row["filter"]), {each.checkpoint["checkpoint"]})
    read = read_curve(parts[0].values, [value]) if parts else None
    return read is not None and read[0].transform in EXPONENTIAL
