"""Rate a curve with too few checkpoints for a trend."""

from __future__ import annotations

import math
from typing import Literal

from milepost.analysis.intervals import Z95
from milepost.analysis.points import Points
from milepost.text.language import Phrase, joined

FewVerdict = Literal["at chance", "too few checkpoints", "too few docs"]


def rate_few(points: Points) -> tuple[FewVerdict, str]:
    """Return the verdict and its reason; as `signal.rate` for more checkpoints.

    Such a curve is at chance if the 95 % interval of every checkpoint reaches down to the level of guessing
    or of the best constant answer.
    """
    n = len(points.values)
    if n == 1:
        return "too few checkpoints", Phrase("one checkpoint: no curve")
    if points.n < points.fewest_docs:
        return "too few docs", Phrase("fewer than {n}", n=points.fewest_docs)
    floor = points.floor
    if floor is not None and all(low <= floor for low in _low_ends(points)):
        level = where(points, in_band=points.in_band)
        return "at chance", joined(", ", (level, Phrase("no improvement shown")))
    return "too few checkpoints", Phrase("fewer than {n}: no trend", n=points.fewest_checkpoints)


def where(points: Points, *, in_band: bool) -> str:
    """Return in words where a curve at chance lies."""
    if in_band:
        return Phrase("inside the constant-answer band")
    if points.constant is not None:
        return Phrase("not above the constant-answer band")
    return Phrase("not above chance")


def _low_ends(points: Points) -> list[float]:
    """Return the lower ends of the values' 95 % intervals, wider where few docs are right or wrong.

    Two right and two wrong answers are added to an accuracy, as in `Points.docs_errors`.
    """
    errors = points.plain_errors
    if points.is_accuracy:
        n = points.n + 4
        shares = [(value * points.n + 2) / n for value in points.values]
        errors = [
            max(error, math.sqrt(share * (1 - share) / n))
            for error, share in zip(errors, shares, strict=True)
        ]
    return [value - Z95 * error for value, error in zip(points.values, errors, strict=True)]
