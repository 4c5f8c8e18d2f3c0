"""Make HTML of a page: the frame with menu, controls and progress around its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from milepost.report.blocks import Block, charts_in
from milepost.report.charts.theme import DARK, LIGHT
from milepost.results.progress import Progress
from milepost.safe_text import printable
from milepost.version import __version__
from milepost.web.page import Page, PageKind
from milepost.web.progress import progress_blocks
from milepost.web.query import Query

if TYPE_CHECKING:
    from jinja2 import Environment


def page_html(
    page: Page, kind: PageKind, menu: Sequence[PageKind], query: Query, *, progress: Progress, records: int
) -> str:
    """Return a page as HTML without inline scripts and styles.

    Args:
        records: the number of the records, which an open page compares with that of events.
    """
    charts = charts_in(page.blocks)
    template = _environment().get_template("frame.html.j2")
    return template.render(
        version=__version__,
        title=printable(page.title),
        page=page,
        kind=kind,
        menu=menu,
        query=query,
        blocks=page.blocks,
        charts=charts,
        data=charts_data([chart.spec for chart in charts]),
        progress=progress_html(progress),
        records=records,
    )


def progress_html(progress: Progress) -> str:
    """Return the strip that says how far the run is."""
    return blocks_html(progress_blocks(progress))


def blocks_html(blocks: Sequence[Block]) -> str:
    """Return blocks without charts as HTML, without a frame."""
    from markupsafe import Markup

    return Markup(_environment().get_template("fragment.html.j2").render(blocks=blocks, charts=()))


def charts_data(specs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the page's script needs to draw charts: their specs, and the colours of both papers."""
    # The page has its own heading and colours; vega-embed would prefer those in the spec.
    bare = [{key: spec[key] for key in spec if key not in ("config", "title")} for spec in specs]
    return {"specs": bare, "paper": {"light": {**LIGHT, "background": None}, "dark": DARK}}


@cache
def _environment() -> Environment:
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    return Environment(
        loader=ChoiceLoader([PackageLoader("milepost.web"), PackageLoader("milepost.report")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
