"""Make HTML of a page: the frame of every served page around its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from milepost.report.html import Frame, PageLink, fragment, page
from milepost.results.progress import Progress
from milepost.text.language import _, language
from milepost.text.safe_text import printable
from milepost.web.page import Page, PageKind
from milepost.web.progress import progress_blocks
from milepost.web.query import Query

LANGUAGES = {"en": "English", "zh_CN": "中文"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A served page's place: what stands around it."""

    results: str
    """The folder, for people."""
    kind: PageKind | None
    """None for an error."""
    menu: Sequence[PageKind]
    query: Query
    records: int
    """The number of the records, which an open page compares with that of events."""
    progress: Progress


def page_html(shown: Page, place: Place) -> str:
    """Return a page as HTML without inline scripts and styles."""
    return page(shown.title, shown.blocks, _frame(place))


def progress_html(progress: Progress) -> str:
    """Return the strip that says how far the run is."""
    return fragment(progress_blocks(progress), Frame(served=True))


def page_links(
    menu: Sequence[PageKind], *, lang: str, current: PageKind | None = None
) -> tuple[PageLink, ...]:
    """Return the menu.

    Args:
        lang: the language that the address names; every link keeps it.
        current: the page that is shown.
    """
    kept = "?" + urlencode({"lang": lang}) if lang else ""
    return tuple(
        PageLink(_(each.label), f"/{each.name}{kept}", current=each is current) for each in menu if each.label
    )


def _frame(place: Place) -> Frame:
    chosen = place.query.text("lang")
    kept = "?" + urlencode({"lang": chosen}) if chosen else ""
    return Frame(
        pages=page_links(place.menu, lang=chosen, current=place.kind),
        languages=tuple(
            PageLink(name, place.query.having(lang=tag), lang=tag.replace("_", "-"))
            for tag, name in LANGUAGES.items()
            if tag != language()
        ),
        lang=language().replace("_", "-"),
        about=printable(place.results),
        served=True,
        events=f"/events{kept}",
        records=place.records,
        progress=progress_blocks(place.progress),
    )
