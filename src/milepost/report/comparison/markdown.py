"""A comparison as GitHub-flavoured Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from milepost.report.comparison.examples import Example, Examples
from milepost.report.comparison.study import Study, Variant
from milepost.report.comparison.tables import (
    HOW_TO_READ,
    VERDICT,
    TextTable,
    headline,
    layers_table,
    models_table,
    overview_table,
    uncounted,
    variant_tables,
)
from milepost.report.markdown import escaped
from milepost.report.provenance import facts


def comparison_markdown(study: Study) -> str:
    """The whole report."""
    return "\n\n".join(_report(study)) + "\n"


def _report(study: Study) -> Iterator[str]:
    yield f"# What changed from {escaped(study.label(study.original))}"
    yield "\n".join(f"- {escaped(headline(study, variant))}" for variant in study.variants)
    yield _table(models_table(study))
    yield from map(escaped, uncounted(study))
    overview = overview_table(study)
    if overview is not None:
        yield _table(overview)
    for variant in study.variants:
        yield from _variant(study, variant)
    yield "## How to read it"
    yield HOW_TO_READ
    yield "## How it was measured"
    for model in study.models:
        told = [f"{escaped(name)}: {escaped(value)}" for name, value in facts(model.newest)]
        yield f"**{escaped(study.label(model))}**: {'; '.join(told) or 'no record of it'}"


def _variant(study: Study, variant: Variant) -> Iterator[str]:
    yield f"## {escaped(study.label(variant.model))}"
    comparison = variant.comparison
    if comparison.notes:
        yield "\n".join(f"- {escaped(note)}" for note in comparison.notes)
    for table in variant_tables(variant):
        yield _table(table)
    if comparison.uncompared:
        yield "**Not compared**"
        yield "\n".join(f"- {escaped(what)}: {escaped(reason)}" for what, reason in comparison.uncompared)
    layers = layers_table(study, variant.model)
    if layers is not None:
        yield f"<details><summary>{escaped(layers.title)}</summary>"
        yield _table(layers)
        yield "</details>"
    shown = [one for one in variant.examples if one.lost or one.gained]
    if shown:
        yield "### Questions lost and gained"
    for examples in shown:
        yield from _examples(examples)


def _examples(examples: Examples) -> Iterator[str]:
    lost, gained = f"{examples.n_lost:,} lost", f"{examples.n_gained:,} gained"
    yield f"<details><summary>{escaped(examples.task)}: {lost}, {gained}</summary>"
    for word, docs in (("lost", examples.lost), ("gained", examples.gained)):
        for example in docs:
            yield _example(word, example)
    yield "</details>"


def _example(word: str, example: Example) -> str:
    lines = [f"**{word}: {escaped(example.task)}, doc {example.doc_id}**", "", _quoted(example.question), ""]
    lines += [f"- {_flat(choice)}" for choice in example.choices]
    if example.choices:
        lines.append("")
    if example.target:
        lines.append(f"right: {_flat(example.target)}<br>")
    lines.append(f"original: {_flat(example.original_answer)}<br>")
    lines.append(f"other: {_flat(example.other_answer)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "\n".join(f"> {escaped(line)}<br>" if line else ">" for line in text.split("\n"))


def _flat(text: str) -> str:
    return escaped(" ".join(text.split()))


def _table(table: TextTable) -> str:
    align = [":---", *["---:"] * (len(table.columns) - 1)]
    lines = [[escaped(cell) for cell in table.columns], align]
    verdicts = table.verdicts or [None] * len(table.rows)
    for row, verdict in zip(table.rows, verdicts, strict=True):
        cells = [escaped(cell) for cell in row]
        if verdict in ("worse", "better", "different"):
            cells[VERDICT] = f"**{cells[VERDICT]}**"
        lines.append(cells)
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = f"\n\n{escaped(table.note)}" if table.note else ""
    return f"**{escaped(table.title)}**\n\n{body}{note}"
