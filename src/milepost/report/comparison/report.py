"""The report of a comparison: in short for the terminal, in full for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.analysis.pick_bias import position_name
from milepost.report.blocks import (
    Block,
    Bullets,
    Chart,
    Choice,
    Details,
    Facts,
    Grid,
    Heading,
    Note,
    Question,
    Verdict,
)
from milepost.report.comparison.examples import Example, Examples
from milepost.report.comparison.figures import comparison_figures
from milepost.report.comparison.study import Study, Variant
from milepost.report.comparison.tables import (
    HOW_TO_READ,
    differences_table,
    headline,
    layers_table,
    models_table,
    overview_table,
    uncounted,
    variant_tables,
)
from milepost.report.html import page
from milepost.report.markdown import markdown
from milepost.report.provenance import settings_facts
from milepost.report.table import grouped
from milepost.text.language import Phrase, joined
from milepost.text.safe_text import printable

COUNTED = ("zeros in linear layers", "pattern", "parameters", "not zero", "on disk")
"""Columns that need the weights."""
_ONLY_IN_FILES = ("relative", "p")
"""Columns that only the files have: a terminal is narrow."""
_MOST_NAMED = 3
"""Metrics named per reason; comparison_results.json has them all: a HELM entry has hundreds."""


def comparison_summary(study: Study) -> Iterator[Block]:
    """Yield a sentence per variant, every variant's tasks with their verdicts, then the models."""
    yield from (headline(study, variant) for variant in study.variants)
    yield ""
    for variant in study.variants:
        table = differences_table(study.label(variant.model), variant.comparison.tasks)
        if table is not None:
            yield from (table.without(_ONLY_IN_FILES), "")
    if (overview := overview_table(study)) is not None:
        yield from (overview, "")
    yield from (models_table(study).without(("path", "not zero", "parameters")), "")
    yield from map(Note, uncounted(study))
    for variant in study.variants:
        yield from (Note(joined("", ("  ", printable(note)))) for note in variant.comparison.notes)
        for line in _not_compared(variant):
            yield Note(Phrase("  not compared: {line}", line=line))


def comparison_markdown(study: Study) -> str:
    """Return the whole report as Markdown."""
    return markdown(_report(study), title=_title(study))


def comparison_page(study: Study) -> str:
    """Return the whole report as one HTML page, with its charts."""
    return page(_title(study), list(comparison_blocks(study)))


def comparison_blocks(study: Study) -> Iterator[Block]:
    """Yield the whole report, with its charts."""
    return _report(study, tuple(comparison_figures(study)))


def _title(study: Study) -> str:
    return Phrase("What changed from {model}", model=study.label(study.original))


def _report(study: Study, charts: tuple[Chart, ...] = ()) -> Iterator[Block]:
    headlines = tuple(headline(study, variant) for variant in study.variants)
    yield Bullets(headlines) if len(headlines) > 1 else headlines[0]
    if charts:
        yield Grid(charts, "large")
    yield from _models(study)
    if (overview := overview_table(study)) is not None:
        yield overview
    for variant in study.variants:
        yield from _variant(study, variant)
    yield Heading(Phrase("How to read it"))
    yield HOW_TO_READ
    yield Heading(Phrase("How it was measured"))
    for model in study.models:
        facts = Facts(settings_facts(model.newest))
        yield Details(study.label(model), (facts if facts.pairs else Note(Phrase("no record of it")),))


def _models(study: Study) -> Iterator[Block]:
    """Yield the models; what nobody has counted takes no room."""
    counted = any(model.sparsity is not None for model in study.models)
    yield models_table(study) if counted else models_table(study).without(COUNTED)
    yield from map(Note, uncounted(study))


def _variant(study: Study, variant: Variant) -> Iterator[Block]:
    yield Heading(study.label(variant.model))
    comparison = variant.comparison
    if comparison.notes:
        yield Bullets(tuple(map(printable, comparison.notes)))
    yield from variant_tables(variant)
    if comparison.uncompared:
        yield Heading(Phrase("Not compared"), 3)
        yield Bullets(tuple(_not_compared(variant)))
    if (layers := layers_table(study, variant.model)) is not None:
        yield Details(layers.title, (layers,))
    shown = [examples for examples in variant.examples if examples.lost or examples.gained]
    if shown:
        yield Heading(Phrase("Questions lost and gained"), 3)
    for examples in shown:
        summary = Phrase(
            "{task}: {lost:,} lost, {gained:,} gained",
            task=printable(examples.task),
            lost=examples.n_lost,
            gained=examples.n_gained,
        )
        yield Details(summary, tuple(_examples(examples)))


def _not_compared(variant: Variant) -> Iterator[str]:
    """Yield a line per reason, with the metrics that it holds for."""
    for reason, skipped in grouped(variant.comparison.uncompared, lambda each: each.reason).items():
        names = printable(", ".join(what for what, _ in skipped[:_MOST_NAMED]))
        more = len(skipped) - _MOST_NAMED
        if more > 0:
            names = Phrase("{names} and {n:,} more (all in comparison_results.json)", names=names, n=more)
        yield joined(": ", (printable(names), printable(reason)))


def _examples(examples: Examples) -> Iterator[Block]:
    for verdict, docs in (
        (Verdict(Phrase("lost"), "bad"), examples.lost),
        (Verdict(Phrase("gained"), "good"), examples.gained),
    ):
        for example in docs:
            yield _example(verdict, example)


def _example(verdict: Verdict, example: Example) -> Question:
    marked = example.target in example.choices
    facts = (
        *(((Phrase("right"), example.target),) if example.target and not marked else ()),
        (Phrase("original"), example.original_answer),
        (Phrase("other"), example.other_answer),
    )
    return Question(
        Phrase("{task}, doc {doc_id}", task=example.task, doc_id=example.doc_id),
        example.question,
        tuple(
            Choice(position_name(place), text, is_right=text == example.target)
            for place, text in enumerate(example.choices)
        ),
        (Facts(facts),),
        verdict,
    )
