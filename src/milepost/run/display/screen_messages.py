"""Show log messages to a person in their language, broken between words; log files keep English."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, TextIO

from milepost.text.credentials import without_secrets
from milepost.text.language import _, for_reader, translated
from milepost.text.safe_text import blanked
from milepost.text.wrapping import fitted

SHOWN = "milepost_shown"
"""Attribute of a record: its text in the reader's language, where the message itself is finished English."""


if TYPE_CHECKING:
    TextHandler = logging.StreamHandler[TextIO]
else:
    TextHandler = logging.StreamHandler  # which takes no type before Python 3.11


class Screen(TextHandler):
    """Writes to the standard error of the moment: a progress bar replaces it, to print above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class ScreenFormatter(logging.Formatter):
    """Shows the message alone; control characters from libraries or data never reach the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        message = blanked(message_for_reader(record))
        if record.levelno >= logging.WARNING:
            is_error = record.levelno >= logging.ERROR
            message = (
                _("error: {message}", message=message)
                if is_error
                else _("warning: {message}", message=message)
            )
        return fitted(message, sys.stderr)


def message_for_reader(record: logging.LogRecord) -> str:
    """Return a record's message in the reader's language, if it is one of ours, without secrets."""
    shown: str | None = getattr(record, SHOWN, None)
    if shown is not None:
        return shown
    if not record.name.startswith("milepost") or not isinstance(record.msg, str):
        return record.getMessage()
    values = record.args if isinstance(record.args, tuple) else ()
    text = translated(record.msg)
    if values:
        text %= tuple(for_reader(value) if isinstance(value, str) else value for value in values)
    return without_secrets(text)


def counted_for_reader(record: logging.LogRecord, n_others: int) -> str:
    """Return the first line of a message for the reader, and how many others are like it."""
    message = (message_for_reader(record).strip().splitlines() or [""])[0]
    return _("{message} (and {n} more like it)", message=message, n=n_others) if n_others else message
