"""Errors that users can fix.

A wrong path, an unknown task or a mirror that is down raises a `MilepostError`: one line that says what is
wrong and, where it helps, a hint that says what to do. The command line prints both without a traceback and
exits with the error's code. Any other exception is a bug and keeps its traceback. `message` and `hint` are
English, as records and logs keep them; `for_reader` returns both in the language of whoever reads them.
"""

from __future__ import annotations

from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase, translated


class MilepostError(Exception):
    """An error that the user can fix.

    Args:
        message: one line that names what is wrong.
        hint: one line that says what to do.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = without_secrets(message)
        self.hint = hint and without_secrets(hint)
        self._as_given = message, hint
        super().__init__(self.message)

    def for_reader(self) -> tuple[str, str | None]:
        """Return message and hint in the reader's language."""
        message, hint = self._as_given
        return without_secrets(translated(message)), hint and without_secrets(translated(hint))

    @property
    def one_line(self) -> str:
        """Message and hint in one line, for lists of failures; a phrase, English in records."""
        message, hint = (text and _phrase(text) for text in self._as_given)
        return Phrase("{message} ({hint})", message=message, hint=hint) if hint else message or ""


class SourceError(MilepostError):
    """A SOURCE does not exist, matches nothing or cannot be reached."""


class CheckpointError(MilepostError):
    """One checkpoint cannot be used; the others of its series can."""

    exit_code = 1


class BucketError(MilepostError):
    """An object store refuses a request or does not answer; what it holds is intact."""


class TaskError(MilepostError):
    """A task is unknown, its YAML file does not parse, or its data cannot be loaded."""


class MissingDataError(TaskError):
    """The data of one task, or a package that it imports, is not there; the other tasks can do without it."""

    def __init__(self, task: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.task = task


class NothingLeftError(MissingDataError):
    """The last task of a source whose others are left out already lacks its data as well."""

    @classmethod
    def of(cls, error: MissingDataError) -> NothingLeftError:
        """Return the error for what that task lacks."""
        return cls(error.task, *error._as_given)


class TokenizerError(MilepostError):
    """A tokenizer is missing or does not fit the model."""


class ResultsError(MilepostError):
    """A results folder cannot be read or written."""


class StorageError(ResultsError):
    """Results cannot be written (full disk, no permission); what was written before is intact."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None, *, is_full: bool = False) -> None:
        """Make the error; `is_full`: the disk is full or the quota used up, which may pass."""
        super().__init__(message, hint)
        self.is_full = is_full


def _phrase(text: str) -> str:
    """Return a text of an error as a phrase; one with a secret as English without it."""
    safe = without_secrets(text)
    if safe != text:
        return safe
    return text if isinstance(text, Phrase) else Phrase(text)
