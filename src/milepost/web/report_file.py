"""The dashboard as a file to send: every page as a section, with style, script and charts inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from milepost.errors import ResultsError
from milepost.report.blocks import Block, Section
from milepost.report.html import Frame, PageLink, page
from milepost.report.markdown import markdown
from milepost.report.progress import progress_report
from milepost.report.scores import score_report
from milepost.results import select_rows
from milepost.results.progress import read_progress
from milepost.results.training import read_training
from milepost.store.united_index import open_folders
from milepost.text.folder_names import short_names
from milepost.text.language import language
from milepost.text.safe_text import printable
from milepost.web.page import Page, PageKind, View
from milepost.web.pages import PAGES
from milepost.web.query import Query

LEFT_OUT = frozenset({"questions"})
"""Pages that only make sense where a reader can ask for more."""


def open_view(*results: Path, baselines: Path | None = None) -> View:
    """Return results folders as they are now.

    Raises:
        ResultsError: one is no results folder, or none holds a metric yet.
    """
    index = open_folders(results)
    if not index.scored:
        raise ResultsError("these results hold no measurement yet", "`milepost run` writes them")
    return View(index=index, progress=read_progress(index), baselines=baselines)


def report_html(view: View, *, title: str | None = None) -> str:
    """Return all pages as sections of one HTML page that needs nothing else."""
    sections = list(_sections(view))
    links = tuple(PageLink(section.title, f"#{section.name}") for section in sections)
    return page(
        title or ", ".join(map(printable, view.index.series)),
        sections,
        Frame(
            pages=links,
            lang=language(),
            about=printable(", ".join(short_names([part.folder.path for part in view.index.parts]))),
        ),
    )


def report_markdown(view: View) -> str:
    """Return what a pull request needs: the values, and what each curve shows."""
    rows = select_rows(view.index)
    blocks: list[Block] = [*score_report(rows), *progress_report(read_training(view.index, rows))]
    return markdown(blocks, title=", ".join(map(printable, view.index.series)))


def _sections(view: View) -> Iterator[Section]:
    for kind in PAGES:
        if kind.name in LEFT_OUT or not kind.label:
            continue
        made = _made(kind, view)
        if made is not None:
            yield Section(kind.name, made.title, made.blocks)


def _made(kind: PageKind, view: View) -> Page | None:
    """Return a page as it is without any choice; None where these results have nothing for it."""
    try:
        return kind.make(view, Query())
    except ResultsError:
        return None
