"""Say what a curve shows: improved, got worse, at chance or nothing; and which checkpoint is best, if any.

This is the one rule behind the verdicts of `milepost signal`, the remarks of `milepost show`, the star of its
tables and the ring of charts, so that they never contradict each other.

- The verdict is that of `signal.rate`.
- A best checkpoint is named only of a curve that is not at chance, and only if the curve has a trend or the
  best checkpoint's interval lies beyond that of the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeVar

from milepost.analysis.curves import Curve
from milepost.analysis.few import rate_few
from milepost.analysis.metric_kinds import is_proportion, spans_ratios
from milepost.analysis.points import Points
from milepost.analysis.row import Row
from milepost.text.language import Phrase
from milepost.types.metrics import Measurement

Measured = TypeVar("Measured", bound=Measurement)
MOST_KEPT = 256
"""Curves whose standing is kept: a page asks for that of each of its curves many times."""

Verdict = Literal[
    "improved",
    "got worse",
    "no steady trend",
    "no trend",
    "at chance",
    "too few checkpoints",
    "too few docs",
    "one checkpoint",
]


@dataclass(frozen=True, slots=True)
class Standing:
    """The reading of a curve."""

    verdict: Verdict
    reason: str = ""
    """Reason in a few words, as `milepost signal` gives it."""
    best: int | None = None
    """Place of the best checkpoint among the measured ones; None where none stands out."""
    in_band: bool = False
    """True if a model that only changes its favourite letter would explain the curve."""

    @property
    def improved(self) -> bool:
        """True if it got better beyond its noise."""
        return self.verdict == "improved"

    @property
    def at_chance(self) -> bool:
        """True if a model that guesses would explain it."""
        return self.verdict == "at chance"


@lru_cache(maxsize=MOST_KEPT)
def standing(curve: Curve) -> Standing | None:
    """Return what a curve shows; None where the metric has no direction, or there is no value."""
    measured = joined(curve.measured)
    if curve.rows[0].higher_is_better is None or not measured:
        return None
    if len(measured) == 1:
        return Standing("one checkpoint", Phrase("one checkpoint: no curve"))
    found = _rated(points_of(measured))
    if found.verdict in ("at chance", "too few docs"):
        return found
    best = best_place(curve)
    if found.verdict in ("improved", "got worse") or _stands_out(curve, best):
        return replace(found, best=best)
    return found


def points_of(measured: Sequence[Measurement]) -> Points:
    """Return the points that `signal.rate` rates.

    Args:
        measured: of one curve, with values and as many docs each; at least one.
    """
    first = measured[0]
    values = tuple(point.value for point in measured if point.value is not None)
    return Points(
        steps=tuple(i if point.step is None else point.step for i, point in enumerate(measured)),
        values=values,
        n=first.n,
        stderr=tuple(point.stderr for point in measured),
        is_accuracy=is_proportion(first.metric),
        higher_is_better=bool(first.higher_is_better),
        is_ratio=spans_ratios(first.metric, values, higher_is_better=bool(first.higher_is_better)),
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


def _rated(points: Points) -> Standing:
    if len(points.values) < points.fewest_checkpoints:
        verdict, reason = rate_few(points)
        return Standing(verdict, reason, in_band=verdict == "at chance" and points.in_band)
    from milepost.analysis.signal import rate

    rating = rate(points)
    if rating.verdict == "watch":
        return Standing("improved" if rating.improved else "got worse", rating.reason)
    if rating.verdict == "too noisy at this scale":
        return Standing("no trend", rating.reason)
    return Standing(rating.verdict, rating.reason, in_band=rating.verdict == "at chance" and rating.in_band)


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
