"""Perplexity: one text in every convention, through training, and why the conventions differ."""

from __future__ import annotations

from typing import Any, TypedDict

from milepost.report.blocks import Note
from milepost.report.perplexity import perplexity_records, perplexity_report
from milepost.results.perplexity import read_perplexities
from milepost.text.language import _
from milepost.web.page import Page, PageKind, View
from milepost.web.query import Query


class PerplexityData(TypedDict):
    """The perplexities as `milepost ppl --json` gives them."""

    models: list[dict[str, Any]]


def perplexity(view: View, query: Query) -> Page:
    """Return the perplexities of the newest text."""
    found = read_perplexities(view.index)
    none = Note(_("No text was measured in all conventions; `milepost ppl SOURCE -o RESULTS` does that."))
    return Page(
        title=_("Perplexity"),
        blocks=tuple(perplexity_report(found)) if found else (none,),
        data=PerplexityData(models=perplexity_records(found)),
    )


PAGE = PageKind(
    name="perplexity",
    label="Perplexity",
    about="One text in every convention of perplexity, and each gap as factors.",
    make=perplexity,
    data=PerplexityData,
)
