"""Make the headings of charts."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from milepost.analysis.row import Row
from milepost.report.formatting import training_runs, wrapped
from milepost.text.safe_text import printable
from milepost.types.picks import Picks


def name_of(rows: Sequence[Row | Picks], title: str | None = None) -> str:
    """Return the title, or by default the name of the series or the number of series."""
    series = list(dict.fromkeys(printable(row.series) for row in rows))
    return title or (series[0] if len(series) == 1 else training_runs(len(series)))


def heading(text: str, width: int, below: Sequence[str] = ()) -> alt.TitleParams:
    """Return the title of a chart that is `width` pixels wide, with lines below it."""
    return alt.TitleParams(
        text=wrapped(printable(text), width // 9),
        subtitle=list(below),
        anchor="start",
        fontSize=16,
        subtitleFontSize=11,
        offset=14,
    )
