"""Calling a command as the shell does, in this process."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import NamedTuple
from unittest import mock

from milepost.cli.main import main


class Called(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """Lines of standard error, without the stages that a slow machine names: `loading tasks ...`."""
        return [line for line in self.err.splitlines() if not line.endswith(" ...")]


def refusal(called: Called) -> str:
    """What is wrong, after the checks that hold for every bad input: status 2, one line and a hint."""
    assert called.status == 2, called.err
    assert called.out == ""
    assert [line.split(":")[0] for line in called.said] == ["error", "hint"], called.err
    return called.err


WIDE = 1000
"""Columns of a pipe in which every table has whole lines, for tests that look for them."""


def milepost(*arguments: object, width: int = WIDE) -> Called:
    """Exit status, standard output and standard error of `milepost ARGUMENTS` in a window of that width."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    language = os.environ.get("LANGUAGE")
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(width)}),
        mock.patch.object(sys, "argv", ["milepost", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        finally:  # click's texts follow this variable, which `main` sets
            if language is None:
                os.environ.pop("LANGUAGE", None)
            else:
                os.environ["LANGUAGE"] = language
    return Called(status, out.getvalue(), err.getvalue())
