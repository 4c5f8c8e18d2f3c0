"""Overview: every series at a glance."""

from __future__ import annotations

from typing import Any, TypedDict

from milepost.analysis.row import record
from milepost.report.blocks import Note
from milepost.report.scores import score_report
from milepost.results import select_rows
from milepost.web.page import Page, PageKind, View
from milepost.web.progress import ProgressData, progress_data
from milepost.web.query import Query


class OverviewData(TypedDict):
    """The metrics that tables show by default, and how far the run is."""

    progress: ProgressData
    rows: list[dict[str, Any]]


def overview(view: View, query: Query) -> Page:
    """Return the overview."""
    rows = select_rows(view.index) if view.index.scored else []
    return Page(
        title="Overview",
        blocks=tuple(score_report(rows)) if rows else (Note("Nothing is measured yet."),),
        data=OverviewData(progress=progress_data(view.progress), rows=[record(row) for row in rows]),
    )


PAGE = PageKind(
    name="overview",
    label="Overview",
    about="Every series with its newest metrics, and how far the run is.",
    make=overview,
    data=OverviewData,
    is_live=True,
)
