"""Transform rows for a chart: tasks in one panel, tokens in place of steps, gaps for missing steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from milepost.analysis.curves import checkpoints, missing_steps, with_gaps
from milepost.analysis.row import Row
from milepost.errors import ResultsError
from milepost.text.language import Phrase
from milepost.types.checkpoints import Visited


def together(rows: Sequence[Row]) -> list[Row]:
    """Return rows for one panel with a line per task: for `mmlu` beside `mmlu_continuation`, for example.

    The band of constant answers is that of the tasks that offer letters, if they have the same.

    Raises:
        ResultsError: the tasks are measured by different metrics, or there is only one.
    """
    tasks = list(dict.fromkeys(row.label for row in rows))
    metrics = list(dict.fromkeys((row.metric, row.filter) for row in rows))
    if len(tasks) < 2:
        raise ResultsError(
            Phrase("{task} alone cannot be drawn together", task=tasks[0]),
            "name two tasks or more with --task",
        )
    if len(metrics) > 1:
        names = ", ".join(metric for metric, _ in metrics)
        raise ResultsError(
            Phrase("these tasks have different metrics: {names}", names=names), "choose one with --metric"
        )
    several = len({row.series for row in rows}) > 1
    panel = f"{', '.join(tasks[:-1])} and {tasks[-1]}"
    bands = {row.constant for row in rows if row.fixed_choices}
    band = bands.pop() if len(bands) == 1 else None
    return [
        dataclasses.replace(
            row,
            task=panel,
            variant="",
            series=f"{row.series}: {row.label}" if several else row.label,
            constant=band,
        )
        for row in rows
    ]


def with_missing_steps(rows: Sequence[Row]) -> list[Row]:
    """Add rows without a value where an evenly spaced series lacks a checkpoint, to break the line there."""
    missing = [
        Visited(series, f"step {step}", step)
        for series, places in checkpoints(rows).items()
        for step in missing_steps([place.step for place in places if place.step is not None])
    ]
    return with_gaps(rows, missing)


def by_tokens(rows: Sequence[Row], tokens_per_step: Mapping[str, float]) -> list[Row]:
    """Return the rows with tokens in place of steps.

    Args:
        tokens_per_step: by series; under "" for those that are not named.

    Raises:
        ResultsError: a series whose tokens are not known, or a name that no series has.
    """
    series = list(dict.fromkeys(row.series for row in rows))
    for name in tokens_per_step:
        if name and name not in series:
            raise ResultsError(
                Phrase("--tokens-per-step: no series {name}", name=name),
                Phrase("there are: {names}", names=", ".join(series)),
            )
    lacking = [name for name in series if name not in tokens_per_step and "" not in tokens_per_step]
    if lacking:
        raise ResultsError(
            Phrase("--tokens-per-step does not say how many {series} sees", series=lacking[0]),
            Phrase("add {series}=NUMBER", series=lacking[0]),
        )
    scale = {name: tokens_per_step.get(name, tokens_per_step.get("", 0.0)) for name in series}
    return [
        row if row.step is None else dataclasses.replace(row, step=round(row.step * scale[row.series]))
        for row in rows
    ]
