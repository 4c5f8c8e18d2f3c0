"""Render blocks as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from milepost.report.blocks import (
    Block,
    Bullets,
    Details,
    Facts,
    Grid,
    Heading,
    Line,
    Note,
    Progress,
    Question,
    Quote,
    Section,
    Verdict,
    strong,
)
from milepost.report.table import Cell, Table
from milepost.report.translation import in_readers_language
from milepost.text.language import translated

_SPECIAL = re.compile(r"([\\`*_|<>\[\]])")


def markdown(blocks: Iterable[Block], *, title: str = "") -> str:
    """Return the blocks with an empty line between them; charts, cards and controls are left out."""
    heading = [f"# {escaped(translated(title))}"] if title else []
    return "\n\n".join([*heading, *_parts(in_readers_language(blocks))]) + "\n"


def table_markdown(table: Table) -> str:
    """Return a table under its title, with its notes below."""
    lines = [
        ["<br>".join(map(escaped, column.lines)) for column in table.columns],
        [":---" if column.align == "left" else "---:" for column in table.columns],
        *([_cell(cell) for cell in row] for row in (*table.rows, *table.footer)),
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    title = [f"**{escaped(table.title)}**"] if table.title else []
    return "\n\n".join([*title, body, *map(escaped, table.notes)])


def escaped(text: str) -> str:
    """Return the text with every character escaped that Markdown or the HTML in it would interpret."""
    return _SPECIAL.sub(r"\\\1", text)


def _parts(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Details):
            yield f"<details><summary>{escaped(block.summary)}</summary>"
            yield from _parts(block.blocks)
            yield "</details>"
        elif isinstance(block, Section):
            yield from _parts((Heading(block.title), *block.blocks))
        elif isinstance(block, Grid):
            yield from _parts(block.blocks)
        elif isinstance(block, Question):
            yield from _parts(_question(block))
        elif text := _block(block):
            yield text


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return table_markdown(block)
    if isinstance(block, Heading):
        return f"{'#' * block.level} {escaped(block.text)}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {_flat(item)}" for item in block.items)
    if isinstance(block, Quote):
        return "\n".join(f"> {escaped(line)}<br>" if line else ">" for line in block.text.split("\n"))
    if isinstance(block, Facts):
        return "<br>\n".join(f"{escaped(name)}: {_flat(value)}" for name, value in block.pairs)
    if isinstance(block, Line):
        return "".join(map(_cell, block.cells))
    if isinstance(block, Note | Verdict):
        return escaped(block.text)
    if isinstance(block, Progress):
        return escaped(f"{block.label}: {block.done} of {block.total} {block.note}".rstrip())
    return escaped(block) if isinstance(block, str) else ""


def _question(block: Question) -> Iterator[Block]:
    yield strong(f"{block.verdict.text}: {block.title}" if block.verdict else block.title)
    yield Quote(block.prompt)
    if block.choices:
        yield Bullets(
            tuple(
                f"{choice.name} {choice.text}{' (right)' if choice.is_right else ''} {choice.note}".strip()
                for choice in block.choices
            )
        )
    yield from block.blocks


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return f"**{text}**" if cell.tone not in ("", "problem", "faint") else text


def _flat(text: str) -> str:
    return escaped(" ".join(text.split()))
