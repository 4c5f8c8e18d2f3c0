"""Which tasks of a results folder are worth watching, and by which of their metrics."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from milepost.analysis.agreement import Agreement, agreement
from milepost.analysis.log_scale import CurveKey
from milepost.analysis.metric_kinds import is_proportion, is_ratio_scale
from milepost.analysis.pick_bias import PickBias, pick_bias
from milepost.analysis.signal import LAST, Points, Rating, rate
from milepost.types import Measurement, PickCounts, Picks


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
    kind: str
    parents: tuple[str, ...]
    n: int
    """Docs."""
    chance: float | None
    constant: tuple[float, float] | None
    main: MetricSignal
    """The metric that the task lists first."""
    clearest: MetricSignal | None
    """Of all metrics of the same docs that improved, the one with the largest gain in standard errors; None
    where none did."""
    metrics: tuple[MetricSignal, ...]
    habit: PickBias | None
    """What the last checkpoint picks, by position and by length; None where it is no multiple choice."""
    agreement: Agreement | None
    """Of the main metric over all series; None where there is only one."""
    notes: tuple[str, ...]
    """What was left out."""


def task_signals(
    measurements: Sequence[Measurement],
    picks: Sequence[Picks],
    last: int = LAST,
    *,
    ratios: Collection[CurveKey] = (),
) -> list[TaskSignal]:
    """Rate every task and group of every series, in the order of the measurements, which are by step.

    Args:
        measurements: all metrics of the tasks to be rated.
        picks: of the same series, by step; of more tasks than these if need be.
        last: checkpoints at either end that are taken together, at most.
        ratios: figures that are to be judged as logarithms, besides those known by name.
    """
    last_picks = {(each.series, each.task): each.counts for each in picks}
    places: dict[str, dict[str, None]] = {}
    of_task: dict[tuple[str, str], dict[tuple[str, str], _Curve]] = {}
    for each in measurements:
        places.setdefault(each.series, {})[each.checkpoint] = None
        if each.higher_is_better is not None:
            metrics = of_task.setdefault((each.series, each.task), {})
            named = each.series, each.task, each.metric, each.filter
            curve = metrics.setdefault((each.metric, each.filter), _Curve(is_ratio=named in ratios))
            curve.add(each)
    kept = {key: [curve for curve in own.values() if curve.known] for key, own in of_task.items()}
    among: dict[str, dict[str, Points]] = {}
    for (series, task), own in kept.items():
        if own:
            among.setdefault(task, {})[series] = own[0].points()
    agreements = {task: agreement(of_series, last) for task, of_series in among.items()}
    return [
        _task_signal(own, list(places[series]), last_picks.get((series, task)), agreements[task], last)
        for (series, task), own in kept.items()
        if own
    ]


class _Curve:
    """One metric through a series: what was measured, by step."""

    def __init__(self, *, is_ratio: bool) -> None:
        self.known: list[Measurement] = []
        self.is_ratio = is_ratio

    def add(self, measured: Measurement) -> None:
        if measured.value is not None and math.isfinite(measured.value):
            self.known.append(measured)

    @property
    def joined(self) -> list[Measurement]:
        """Those on as many docs as the last: others are no points of the same curve."""
        n = self.known[-1].n
        return [each for each in self.known if each.n == n]

    def points(self) -> Points:
        joined = self.joined
        first = joined[0]
        return Points(
            steps=tuple(i if each.step is None else each.step for i, each in enumerate(joined)),
            values=tuple(each.value for each in joined if each.value is not None),
            n=first.n,
            stderr=tuple(each.stderr for each in joined),
            is_accuracy=is_proportion(first.metric),
            higher_is_better=bool(first.higher_is_better),
            is_ratio=self.is_ratio or is_ratio_scale(first.metric),
            chance=first.chance,
            constant=first.constant if first.fixed_choices else None,
        )


def _task_signal(
    own: Sequence[_Curve],
    places: Sequence[str],
    picks: PickCounts | None,
    agree: Agreement | None,
    last: int,
) -> TaskSignal:
    metrics = tuple(
        MetricSignal(
            metric=curve.known[0].metric,
            filter=curve.known[0].filter,
            rating=rate(curve.points(), last),
        )
        for curve in own
    )
    improved = [each for each in metrics if each.rating.improved and each.rating.verdict == "watch"]
    shown = own[0].joined[-1]
    return TaskSignal(
        series=shown.series,
        task=shown.task,
        kind=shown.kind,
        parents=shown.parents,
        n=shown.n,
        chance=shown.chance,
        constant=shown.constant,
        main=metrics[0],
        clearest=max(improved, key=lambda each: each.rating.gain_sigmas, default=None),
        metrics=metrics,
        habit=None if picks is None else pick_bias(picks),
        agreement=agree,
        notes=_notes(own[0], places),
    )


def _notes(curve: _Curve, places: Sequence[str]) -> tuple[str, ...]:
    notes = []
    n = curve.known[-1].n
    others = [each for each in curve.known if each.n != n]
    if others:
        names = ", ".join(f"{each.checkpoint} ({each.n} docs)" for each in others)
        notes.append(f"not joined, measured on another number of docs: {names}")
    dtypes = dict.fromkeys(each.dtype for each in curve.known if each.dtype is not None)
    if len(dtypes) > 1:
        notes.append(f"computed in several dtypes: {', '.join(dtypes)}")
    known = {each.checkpoint for each in curve.known}
    gaps = [place for place in places if place not in known]
    if gaps:
        notes.append(f"no value at {', '.join(gaps)}")
    return tuple(notes)
