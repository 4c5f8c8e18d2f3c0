"""The errors a person is meant to read.

Everything that is the user's to mend (a wrong path, a task that does not exist, a mirror that is down)
is a `MilepostError`: one line that says what is wrong and, where it helps, a hint that says what to do.
The command line prints both without a traceback and exits with the error's code. Anything else is a bug
of ours and keeps its traceback.
"""

from __future__ import annotations

from milepost.credentials import without_secrets


class MilepostError(Exception):
    """Something the user can mend.

    Args:
        message: one line, naming the thing that is wrong.
        hint: one line, saying what to do next.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = without_secrets(message)
        self.hint = hint and without_secrets(hint)
        super().__init__(self.message)

    @property
    def one_line(self) -> str:
        """Message and hint together, for a list of failures."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class SourceError(MilepostError):
    """A SOURCE that does not exist, matches nothing or cannot be reached."""


class CheckpointError(MilepostError):
    """One checkpoint cannot be used; the others of its run still can."""

    exit_code = 1


class TaskError(MilepostError):
    """An unknown task, a YAML file that does not parse, data that cannot be had."""


class TokenizerError(MilepostError):
    """No tokenizer, or one that does not fit."""


class ResultsError(MilepostError):
    """A results folder that cannot be read or written."""


class StorageError(ResultsError):
    """Results that cannot be written: a full disk, a folder without the right to; what was written stands."""

    exit_code = 1
