"""Say in words what the marks of a chart mean, and what the chart does not or cannot show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from milepost.analysis.curves import Curve
from milepost.analysis.row import Row
from milepost.analysis.standing import best_row
from milepost.report.notes import listed
from milepost.report.transforms import with_missing_steps
from milepost.text.language import Phrase, _
from milepost.text.safe_text import printable


def remarks(rows: Sequence[Row], *, log_x: bool = False) -> list[str]:
    """Return a line for each thing that a chart of the rows does not or cannot show."""
    steps = {(row.series, row.checkpoint): row.step for row in rows}
    lines = gaps(rows)
    without = [name for (_, name), step in steps.items() if step is None]
    if without and len(without) < len(steps):
        names = ", ".join(map(printable, without))
        lines.append(Phrase("not drawn, no step in the name: {names}", names=names))
    if log_x and 0 in steps.values() and reaches_beyond_0(rows):
        lines.append(Phrase("not drawn, a log axis has no place for it: step 0"))
    return lines


def gaps(rows: Sequence[Row]) -> list[str]:
    """Return a line if the rows make no curve, and a line that names checkpoints without values."""
    places = {(row.series, row.checkpoint): False for row in with_missing_steps(rows)}
    places |= {(row.series, row.checkpoint): True for row in rows if row.n}
    lacking = [name for (_, name), is_measured in places.items() if not is_measured]
    lines: list[str] = [Phrase("one checkpoint: no curve")] if list(places.values()).count(True) == 1 else []
    return [*lines, Phrase("gap, no metrics: {names}", names=listed(lacking))] if lacking else lines


def reaches_beyond_0(rows: Sequence[Row]) -> bool:
    """Return whether there is a step that a log axis has a place for."""
    return any(row.step for row in rows)


def drawable(rows: Sequence[Row], *, log_x: bool) -> list[Row]:
    """Return the rows that have a place on the x axis."""
    if all(row.step is None for row in rows):
        return list(rows)
    return [row for row in rows if row.step is not None and (row.step > 0 or not log_x)]


def marks(drawn: Iterable[Curve]) -> list[str]:
    """Return what the marks of these curves mean, those that are there."""
    longer = [each for each in drawn if len(each.measured) > 1]
    meanings = {
        _("shaded: 95 % interval"): any(row.ci_low is not None for each in longer for row in each.rows),
        _("bar: 95 % interval"): any(
            each.rows[0].ci_low is not None for each in drawn if len(each.rows) == 1
        ),
        _("dashed: chance"): any(each.chance is not None for each in drawn),
        _("grey: a constant answer (A, B, ...)"): any(each.constant is not None for each in drawn),
        _("ringed: best"): any(best_row(each) is not None for each in longer),
    }
    return [meaning for meaning, is_there in meanings.items() if is_there]


# ---- one panel -----------------------------------------------------------------------------------------
