"""Tell what each curve shows (gain, plateau, best checkpoint) from the values of the docs behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.curves import Curve
from milepost.analysis.doc_values import DocValues, as_numbers, identity, is_mean_better_higher, read_curve
from milepost.analysis.improvement import CurveProgress, compare_all, curve_progress, weighted
from milepost.analysis.intervals import NO_INTERVAL, Interval
from milepost.analysis.row import Row, rows
from milepost.store.doc_history import Part
from milepost.types import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEW = 5
"""Subjects at either end."""
MANY = 2 * FEW
"""Groups with more tasks than this have their ends told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCurve:
    """One curve and what it shows."""

    curve: Curve
    progress: CurveProgress | None
    """None for one checkpoint, and where the docs' own figures are not in the store."""
    gain: float | None
    """Last less first, in the metric's unit."""
    gain_interval: Interval
    """95 %, paired."""

    def row(self, place: int) -> Row:
        """The measured checkpoint at a place that `progress` names."""
        return self.curve.measured[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupExtremes:
    """The tasks of a group that its last checkpoint does best and worst at."""

    group: Row
    top: tuple[Row, ...]
    bottom: tuple[Row, ...]


def train_curve(curve: Curve, parts: Sequence[Part]) -> TrainedCurve:
    """Return what a curve shows.

    Args:
        parts: the docs behind it at the checkpoints that have the metric; empty where they are not known.
    """
    measured = curve.measured
    found = _as_means(parts, measured) if len(measured) > 1 else None
    if found is None:
        return TrainedCurve(curve=curve, progress=None, gain=_difference(measured), gain_interval=NO_INTERVAL)
    import numpy as np

    read, strata = found
    higher = is_mean_better_higher(read[0].transform, higher_is_better=bool(curve.rows[0].higher_is_better))
    values = np.stack([one.values for one in read])
    shown = curve_progress(compare_all(values, read[0].weights, strata), higher_is_better=higher)
    return TrainedCurve(
        curve=curve,
        progress=shown,
        gain=_difference(measured),
        gain_interval=_in_unit(shown.gain_interval, read[0]),
    )


def group_extremes(measured: Sequence[Measurement], shown: Iterable[Row]) -> list[GroupExtremes]:
    """Of each outermost group among `shown`, the best and worst tasks at the last checkpoint that has it.

    Args:
        measured: all figures, in which those of the tasks are.
        shown: the rows in whose groups and metrics a reader is interested.
    """
    last: dict[tuple[str, str, str, str], Row] = {}
    for row in shown:
        if row.kind == "group" and not row.parents and row.value is not None:
            last[row.series, row.task, row.metric, row.filter] = row
    found = []
    for group in last.values():
        like = (group.series, group.checkpoint, group.metric, group.filter)
        tasks = rows(
            one
            for one in measured
            if one.kind == "task"
            and (one.series, one.checkpoint, one.metric, one.filter) == like
            and group.task in one.parents
            and one.value is not None
        )
        if len(tasks) > MANY:
            best_first = group.higher_is_better is not False
            ordered = sorted(tasks, key=lambda row: row.value or 0.0, reverse=best_first)
            found.append(
                GroupExtremes(group=group, top=tuple(ordered[:FEW]), bottom=tuple(ordered[::-1][:FEW]))
            )
    return found


def _difference(measured: Sequence[Row]) -> float | None:
    if len(measured) < 2 or measured[0].value is None or measured[-1].value is None:
        return None
    return measured[-1].value - measured[0].value


def _as_means(
    parts: Sequence[Part], measured: Sequence[Row]
) -> tuple[list[DocValues], npt.NDArray[np.int64] | None] | None:
    """[S] the figure at each checkpoint as a mean over the docs that all have; None where it is no mean.

    With it [D] the task of each doc, for a group whose docs do not all weigh the same; else None.
    """
    if not parts or any(len(part.values) != len(measured) for part in parts):
        return None
    import numpy as np

    stored = [row.value for row in measured if row.value is not None]
    strata = None
    if len(parts) == 1:
        read = read_curve(parts[0].values, stored)
        if read is None:
            return None
        values, weights, figure = np.stack([one.values for one in read]), read[0].weights, read[0].transform
        if any(not np.array_equal(one.weights, weights) for one in read):
            return None
        counts = np.isfinite(values).all(axis=0)
        values, weights = values[:, counts], weights[counts]
    else:
        tasks = [_of_group(part) for part in parts]
        known = [one for one in tasks if one is not None]
        if len(known) < len(tasks):
            return None
        values, weights, of_task = weighted(known)
        figure = identity
        if not weights.size:
            return None
        # Some values are stored as float32: their mean is as exact as they are large.
        scale = float(np.abs(values).mean())
        if not np.allclose(values @ weights / weights.sum(), stored, rtol=1e-6, atol=1e-6 * scale):
            return None
        if np.ptp([part.weight for part in parts]) > 0:
            strata = of_task
    return ([DocValues(row, weights, figure) for row in values], strata) if weights.size else None


def _of_group(part: Part) -> tuple[Values, float] | None:
    """A task's docs in its group's mean; None where they are no plain numbers, so that it is no such mean."""
    import numpy as np

    numbers = [as_numbers(one) for one in part.values]
    known = [one for one in numbers if one is not None]
    return (np.stack(known), part.weight) if len(known) == len(numbers) else None


def _in_unit(interval: Interval, first: DocValues) -> Interval:
    """From a difference of means to one of figures, seen from the first checkpoint."""
    import numpy as np

    if interval.low is None or interval.high is None:
        return interval
    mean = np.average(first.values, weights=first.weights)
    ends = interval.low, interval.high
    with np.errstate(over="ignore"):
        moved = [float(first.transform(mean + end) - first.transform(mean)) for end in ends]
    return Interval(min(moved), max(moved)) if np.isfinite(moved).all() else NO_INTERVAL
