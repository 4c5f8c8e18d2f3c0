"""Print what a command has to say: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from milepost.report.json_text import json_text
from milepost.text.language import _
from milepost.text.safe_text import printable
from milepost.text.wrapping import fitted

if TYPE_CHECKING:
    from milepost.report.blocks import Block


def say(text: str = "") -> None:
    """Print a line of the result; control characters in it are spelled out."""
    click.echo(printable(text))


def tell(text: str) -> None:
    """Print a message beside the result, broken between words; control characters in it are spelled out."""
    click.echo(fitted(printable(text), sys.stderr), err=True)


def tell_command(text: str) -> None:
    """Print a line with a command in it beside the result; it is not broken, so that it can be copied."""
    click.echo(printable(text), err=True)


def tell_notes(notes: Iterable[str]) -> None:
    """Print lines that the reader of the result should know."""
    for note in notes:
        tell(_("note: {note}", note=note))


def tell_failure(name: str, reason: str) -> None:
    """Print what failed, and why."""
    tell(_("failed: {name}: {reason}", name=name, reason=reason))


def say_marked(mark: str, colour: str, text: str) -> None:
    """Print a line of the result that begins with a mark in colour."""
    click.echo(f"{click.style(mark, fg=colour)}{printable(text)}")


def say_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json_text(value))


def say_text(text: str) -> None:
    """Print a finished text of several lines: Markdown, CSV."""
    click.echo(text.rstrip("\n"))


def say_blocks(blocks: Iterable[Block]) -> None:
    """Print tables and text as wide as the terminal; in a pipe without one as wide as COLUMNS says, or 80."""
    from rich.console import Console

    from milepost.report.terminal import print_blocks
    from milepost.report.translation import in_readers_language

    print_blocks(in_readers_language(blocks), Console(highlight=False))
