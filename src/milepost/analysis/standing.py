"""Say what a curve shows: improved, got worse, at chance or nothing; and which checkpoint is best, if any.

This is the one rule behind the verdicts of `milepost signal`, the remarks of `milepost show`, the star of its
tables and the ring of charts, so that they never contradict each other.

- With enough checkpoints for a trend (`Points.fewest_checkpoints`) the verdict is that of `signal.rate`.
- Where that finds no trend, as in a short curve that is flat at first and rises late, the ends decide: it
  improved if its gain is beyond the noise between checkpoints and the last interval lies beyond the first.
  Such a change is not steady, and is said not to be.
- With fewer there is no trend to speak of. Such a curve is at chance if the 95 % interval of every checkpoint
  reaches down to the level of guessing or of the best constant answer.
- A best checkpoint is named only of a curve that is not at chance, and only if the curve has a trend or the
  best checkpoint's interval lies beyond that of the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from milepost.analysis.curves import Curve
from milepost.analysis.improvement import FEWEST_ANSWERS
from milepost.analysis.intervals import Z95
from milepost.analysis.metric_kinds import (
    FEWEST_CHECKPOINTS,
    FEWEST_CHECKPOINTS_OF_OTHERS,
    is_proportion,
    is_ratio_scale,
)
from milepost.analysis.row import Row
from milepost.types.metrics import Measurement

if TYPE_CHECKING:
    from milepost.analysis.signal import Points, Rating

Measured = TypeVar("Measured", bound=Measurement)
Verdict = Literal[
    "improved", "got worse", "no trend", "at chance", "too few checkpoints", "too few docs", "one checkpoint"
]


@dataclass(frozen=True, slots=True)
class Standing:
    """The reading of a curve."""

    verdict: Verdict
    reason: str = ""
    """Reason in a few words, as `milepost signal` gives it."""
    best: int | None = None
    """Place of the best checkpoint among the measured ones; None where none stands out."""
    is_steady: bool = True
    """False if only its ends show that it improved or got worse."""

    @property
    def improved(self) -> bool:
        """True if it got better beyond its noise."""
        return self.verdict == "improved"

    @property
    def at_chance(self) -> bool:
        """True if a model that guesses would explain it."""
        return self.verdict == "at chance"


def standing(curve: Curve) -> Standing | None:
    """Return what a curve shows; None where the metric has no direction, or there is no value."""
    measured = joined(curve.measured)
    if curve.rows[0].higher_is_better is None or not measured:
        return None
    is_accuracy = is_proportion(curve.metric)
    if len(measured) >= (FEWEST_CHECKPOINTS if is_accuracy else FEWEST_CHECKPOINTS_OF_OTHERS):
        from milepost.analysis.signal import rate

        found = _of_rating(rate(points_of(measured)), measured)
    else:
        found = _of_few(measured)
    if found.at_chance or len(curve.measured) < 2 or found.verdict == "too few docs":
        return found
    best = best_place(curve)
    if found.verdict in ("improved", "got worse") or _stands_out(curve, best):
        return replace(found, best=best)
    return found


def points_of(measured: Sequence[Measurement], *, is_ratio: bool = False) -> Points:
    """Return the points that `signal.rate` rates.

    Args:
        measured: of one curve, with values and as many docs each; at least one.
        is_ratio: rate logarithms, besides the metrics that are known by name.
    """
    from milepost.analysis.signal import Points

    first = measured[0]
    return Points(
        steps=tuple(i if point.step is None else point.step for i, point in enumerate(measured)),
        values=tuple(point.value for point in measured if point.value is not None),
        n=first.n,
        stderr=tuple(point.stderr for point in measured),
        is_accuracy=is_proportion(first.metric),
        higher_is_better=bool(first.higher_is_better),
        is_ratio=is_ratio or is_ratio_scale(first.metric),
        chance=first.chance,
        constant=first.constant if first.fixed_choices else None,
    )


def best_row(curve: Curve) -> Row | None:
    """Return the checkpoint that a star or a ring marks; None where none stands out."""
    found = standing(curve)
    return None if found is None or found.best is None else curve.measured[found.best]


def joined(measured: Sequence[Measured]) -> list[Measured]:
    """Return the measurements with as many docs as the last; others are not points of the same curve."""
    return [row for row in measured if row.n == measured[-1].n]


def best_place(curve: Curve) -> int:
    """Return the place of the best of the measured checkpoints, the earliest of equal ones."""
    sign = -1.0 if curve.rows[0].higher_is_better is False else 1.0
    values = [sign * (row.value or 0.0) for row in curve.measured]
    return values.index(max(values))


def _of_rating(rating: Rating, measured: Sequence[Row]) -> Standing:
    if rating.verdict == "watch":
        return Standing("improved" if rating.improved else "got worse", rating.reason)
    if rating.verdict == "too noisy at this scale":
        return _of_ends(rating, measured)
    return Standing(rating.verdict, rating.reason)


def _of_ends(rating: Rating, measured: Sequence[Row]) -> Standing:
    ends = measured[0], measured[-1]
    if abs(rating.gain_sigmas) > Z95 and (_high(ends[0]) < _low(ends[1]) or _high(ends[1]) < _low(ends[0])):
        rises = (ends[1].value or 0.0) > (ends[0].value or 0.0)
        if rating.gain_sigmas > 0 and rises == bool(ends[0].higher_is_better):
            return Standing("improved", rating.reason, is_steady=False)
        if rating.gain_sigmas < 0 and rises != bool(ends[0].higher_is_better):
            return Standing("got worse", rating.reason, is_steady=False)
    return Standing("no trend", rating.reason)


def _of_few(measured: Sequence[Row]) -> Standing:
    last = measured[-1]
    if len(measured) == 1:
        return Standing("one checkpoint", "one checkpoint: no curve")
    if is_proportion(last.metric) and last.n < FEWEST_ANSWERS:
        return Standing("too few docs", f"fewer than {FEWEST_ANSWERS}")
    levels = [last.chance, last.constant[1] if last.constant and last.fixed_choices else None]
    floors = [level for level in levels if level is not None]
    if floors and last.higher_is_better and all(_low(row) <= max(floors) for row in measured):
        return Standing("at chance", "not above chance")
    return Standing("too few checkpoints", "too few for a trend")


def _stands_out(curve: Curve, best: int) -> bool:
    """Return whether the interval of the best checkpoint lies beyond that of the worst."""
    rows = curve.measured
    if curve.rows[0].higher_is_better:
        return _low(rows[best]) > min(map(_high, rows))
    return _high(rows[best]) < max(map(_low, rows))


def _low(row: Row) -> float:
    return (row.value or 0.0) if row.ci_low is None else row.ci_low


def _high(row: Row) -> float:
    return (row.value or 0.0) if row.ci_high is None else row.ci_high
