"""Rate which tasks are worth watching, and by which of their metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.analysis.agreement import Agreement, agreement
from milepost.analysis.pick_bias import PickBias, pick_bias
from milepost.analysis.signal import LAST, Points, Rating, rate
from milepost.analysis.standing import joined, points_of
from milepost.text.language import Phrase
from milepost.types.metrics import Measurement
from milepost.types.picks import PickCounts, Picks


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSignal:
    """One metric of one task in one series."""

    metric: str
    filter: str
    rating: Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSignal:
    """One task or group in one series."""

    series: str
    task: str
    """As it was asked; see `Measurement.label`."""
    measured: Measurement
    """The last value of the main metric."""
    kind: str
    parents: tuple[str, ...]
    n: int
    """Number of docs."""
    chance: float | None
    constant: tuple[float, float] | None
    main: MetricSignal
    """The metric that the task lists first."""
    clearest: MetricSignal | None
    """The improved metric with the largest gain in standard errors; None if no metric improved."""
    metrics: tuple[MetricSignal, ...]
    pick_bias: PickBias | None
    """Picks of the last checkpoint by position and length; None unless the task is multiple choice."""
    agreement: Agreement | None
    """Agreement of the main metric over all series; None with only one series."""
    notes: tuple[str, ...]
    """Notes on what was left out."""


def task_signals(
    measurements: Sequence[Measurement],
    picks: Sequence[Picks],
    last: int = LAST,
) -> list[TaskSignal]:
    """Rate every task and group of every series, in the order of the measurements, which are by step.

    Args:
        measurements: all metrics of the tasks to be rated.
        picks: pick counts of the same series, by step.
        last: most checkpoints that are averaged at either end.
    """
    last_picks = {(of_task.series, of_task.task): of_task.counts for of_task in picks}
    checkpoints: dict[str, dict[str, None]] = {}
    metrics_of: dict[tuple[str, str], dict[tuple[str, str], _Curve]] = {}
    for measured in measurements:
        checkpoints.setdefault(measured.series, {})[measured.checkpoint] = None
        if measured.higher_is_better is not None:
            metrics = metrics_of.setdefault((measured.series, measured.label), {})
            metrics.setdefault((measured.metric, measured.filter), _Curve()).add(measured)
    curves_of = {
        key: known
        for key, metrics in metrics_of.items()
        if (known := [curve for curve in metrics.values() if curve.known])
    }
    main_points: dict[str, dict[str, Points]] = {}
    for (series, task), curves in curves_of.items():
        main_points.setdefault(task, {})[series] = curves[0].points()
    agreements = {task: agreement(of_series, last) for task, of_series in main_points.items()}
    return [
        _task_signal(
            curves, list(checkpoints[series]), last_picks.get((series, task)), agreements[task], last
        )
        for (series, task), curves in curves_of.items()
    ]


class _Curve:
    """The measurements of one metric over a series, by step."""

    def __init__(self) -> None:
        self.known: list[Measurement] = []

    def add(self, measured: Measurement) -> None:
        if measured.value is not None and math.isfinite(measured.value):
            self.known.append(measured)

    def points(self) -> Points:
        return points_of(joined(self.known))


def _task_signal(
    curves: Sequence[_Curve],
    checkpoints: Sequence[str],
    picks: PickCounts | None,
    of_all_series: Agreement | None,
    last: int,
) -> TaskSignal:
    metrics = tuple(
        MetricSignal(
            metric=curve.known[0].metric,
            filter=curve.known[0].filter,
            rating=rate(curve.points(), last),
        )
        for curve in curves
    )
    improved = [metric for metric in metrics if metric.rating.improved]
    latest = curves[0].known[-1]
    return TaskSignal(
        series=latest.series,
        task=latest.label,
        measured=latest,
        kind=latest.kind,
        parents=latest.parents,
        n=latest.n,
        chance=latest.chance,
        constant=latest.constant,
        main=metrics[0],
        clearest=max(improved, key=lambda metric: metric.rating.gain_sigmas, default=None),
        metrics=metrics,
        pick_bias=None if picks is None else pick_bias(picks),
        agreement=of_all_series,
        notes=_notes(curves[0], checkpoints),
    )


def _notes(curve: _Curve, checkpoints: Sequence[str]) -> tuple[str, ...]:
    notes = []
    n = curve.known[-1].n
    others = [measured for measured in curve.known if measured.n != n]
    if others:
        names = ", ".join(f"{measured.checkpoint} ({measured.n} docs)" for measured in others)
        notes.append(Phrase("not joined, measured on another number of docs: {names}", names=names))
    dtypes = dict.fromkeys(measured.dtype for measured in curve.known if measured.dtype is not None)
    if len(dtypes) > 1:
        notes.append(Phrase("computed in several dtypes: {dtypes}", dtypes=", ".join(dtypes)))
    known = {measured.checkpoint for measured in curve.known}
    gaps = [name for name in checkpoints if name not in known]
    if gaps:
        notes.append(Phrase("no value at {step}", step=", ".join(gaps)))
    return tuple(notes)
