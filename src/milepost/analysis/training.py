"""Summarise each curve (gain, best checkpoint, plateau) from the values of its docs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milepost.analysis.curves import Curve
from milepost.analysis.doc_values import DocValues, as_numbers, identity, is_mean_better_higher, read_curve
from milepost.analysis.improvement import CurveProgress, compare_all, curve_progress, weighted
from milepost.analysis.intervals import NO_INTERVAL, Interval
from milepost.analysis.row import Row, members_of, rows
from milepost.types.histories import TaskDocs
from milepost.types.metrics import Measurement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[np.float64]

FEW = 5
"""Number of best and of worst tasks to show."""
MANY = 2 * FEW
"""Groups with more tasks than this have their best and worst tasks shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCurve:
    """A curve and its summary."""

    curve: Curve
    progress: CurveProgress | None
    """Result of the paired tests; None for one checkpoint, or without stored values of docs."""
    gain: float | None
    """Last minus first, in the metric's unit."""
    gain_interval: Interval
    """Paired 95 % interval of the gain."""

    def row(self, place: int) -> Row:
        """Return the measured checkpoint with a number that `progress` gives."""
        return self.curve.measured[place]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupExtremes:
    """The best and worst tasks of a group at its last checkpoint."""

    group: Row
    top: tuple[Row, ...]
    bottom: tuple[Row, ...]


def train_curve(curve: Curve, parts: Sequence[TaskDocs]) -> TrainedCurve:
    """Summarise a curve.

    Args:
        parts: docs of the metric at the measured checkpoints; empty if unknown.
    """
    measured = curve.measured
    means = _as_means(parts, measured) if len(measured) > 1 else None
    if means is None:
        return TrainedCurve(curve=curve, progress=None, gain=_difference(measured), gain_interval=NO_INTERVAL)
    import numpy as np

    read, strata = means
    higher = is_mean_better_higher(read[0].transform, higher_is_better=bool(curve.rows[0].higher_is_better))
    values = np.stack([docs.values for docs in read])
    progress = curve_progress(compare_all(values, read[0].weights, strata), higher_is_better=higher)
    return TrainedCurve(
        curve=curve,
        progress=progress,
        gain=_difference(measured),
        gain_interval=_in_unit(progress.gain_interval, read[0]),
    )


def group_extremes(measured: Sequence[Measurement], shown: Iterable[Row]) -> list[GroupExtremes]:
    """Return the best and worst tasks of each outermost group among `shown`, at its last checkpoint.

    Args:
        measured: all measurements, including those of the groups' tasks.
        shown: rows of the groups and metrics to report.
    """
    last: dict[tuple[str, str, str, str], Row] = {}
    for row in shown:
        if row.kind == "group" and not row.parents and row.value is not None:
            last[row.series, row.label, row.metric, row.filter] = row
    found = []
    for group in last.values():
        tasks = rows(task for task in members_of(group, measured) if task.value is not None)
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
    parts: Sequence[TaskDocs], measured: Sequence[Row]
) -> tuple[list[DocValues], npt.NDArray[np.int64] | None] | None:
    """Return [S] the metric at each checkpoint as a mean over common docs; None if it is not such a mean.

    Returned with it: [D] the task of each doc for a group with unequal weights, else None.
    """
    if not parts or any(len(part.values) != len(measured) for part in parts):
        return None
    stored = [row.value for row in measured if row.value is not None]
    if len(parts) > 1:
        return _group_means(parts, stored)
    means = _task_means(parts[0], stored)
    return None if means is None else (means, None)


def _task_means(part: TaskDocs, stored: Sequence[float]) -> list[DocValues] | None:
    import numpy as np

    read = read_curve(part.values, stored)
    if read is None or any(not np.array_equal(docs.weights, read[0].weights) for docs in read):
        return None
    counts = np.isfinite(np.stack([docs.values for docs in read])).all(axis=0)
    return [docs.of(np.flatnonzero(counts)) for docs in read] if counts.any() else None


def _group_means(
    parts: Sequence[TaskDocs], stored: Sequence[float]
) -> tuple[list[DocValues], npt.NDArray[np.int64] | None] | None:
    import numpy as np

    tasks = []
    for part in parts:
        numbers = [as_numbers(values) for values in part.values]
        known = [values for values in numbers if values is not None]
        if len(known) < len(numbers):
            return None
        tasks.append((np.stack(known), part.weight))
    values, weights, task_of_doc = weighted(tasks)
    if not weights.size:
        return None
    # Values may be stored as float32, so the error of their mean depends on their size.
    scale = float(np.abs(values).mean())
    if not np.allclose(values @ weights / weights.sum(), stored, rtol=1e-6, atol=1e-6 * scale):
        return None
    has_strata = np.ptp([part.weight for part in parts]) > 0
    return [DocValues(row, weights, identity) for row in values], task_of_doc if has_strata else None


def _in_unit(interval: Interval, first: DocValues) -> Interval:
    """Convert a difference of means to a difference of the metric, starting at the first checkpoint."""
    import numpy as np

    if interval.low is None or interval.high is None:
        return interval
    mean = np.average(first.values, weights=first.weights)
    ends = interval.low, interval.high
    with np.errstate(over="ignore"):
        moved = [float(first.transform(mean + end) - first.transform(mean)) for end in ends]
    return Interval(min(moved), max(moved)) if np.isfinite(moved).all() else NO_INTERVAL
