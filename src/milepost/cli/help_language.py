"""Help in the reader's language: of Milepost's own texts, and of the words that click adds."""

from __future__ import annotations

import copy
import gettext
import inspect
import os
from typing import TypeVar

import click

from milepost.text.language import DOMAIN, FOLDER, Phrase, language, translated

Command = TypeVar("Command", bound=click.Command)

CLICKS_WORDS = (
    Phrase("Usage:"),
    Phrase("Options"),
    Phrase("Show this message and exit."),
    Phrase("Show the version and exit."),
    Phrase("default: {default}"),
    Phrase("Missing argument"),
    Phrase("Missing option"),
    Phrase("Missing command."),
    Phrase("No such option {name!r}."),
    Phrase("No such command {name!r}."),
    Phrase("Invalid value: {message}"),
    Phrase("Invalid value for {param_hint}: {message}"),
    Phrase("{value!r} is not a valid {number_type}."),
    Phrase("Option {name!r} does not take a value."),
)
"""Texts of click that people see; its own catalogue is found by `prepare_click`."""


def prepare_click() -> None:
    """Let click look its texts up in Milepost's catalogue, in the language that Milepost speaks."""
    gettext.bindtextdomain(DOMAIN, str(FOLDER))
    gettext.textdomain(DOMAIN)
    os.environ["LANGUAGE"] = language()


def in_readers_language(command: Command) -> Command:
    """Return a copy of a command whose help and whose options' help are in the reader's language."""
    shown = copy.copy(command)
    shown.help = _translated(command.help)
    shown.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in shown.params:
        if isinstance(parameter, click.Option):
            parameter.help = _translated(parameter.help)
    return shown


def _translated(text: str | None) -> str | None:
    return text and translated(inspect.cleandoc(text))
