"""A terminal of 80 columns, in which commands are typed as a user types them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pexpect

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Seen(NamedTuple):
    """What a command left on the screen, and its exit status."""

    text: str
    status: int


class Terminal:
    """Runs one command after the other in a folder; caches are those of this session."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._folder = folder
        self._environment = os.environ | {"TERM": "xterm", "PYTHON": sys.executable} | environment

    def types(self, command: str) -> Seen:
        """Run `milepost ...` and wait for its end."""
        child = self.begins(command)
        child.expect(pexpect.EOF)
        return self.ends(child)

    def begins(self, command: str) -> pexpect.spawn:
        """Start `milepost ...`."""
        words = re.sub(r"^milepost", f"{sys.executable} -m milepost", command)
        return pexpect.spawn(
            "/bin/sh",
            ["-c", words],
            cwd=str(self._folder),
            env=self._environment,
            encoding="utf-8",
            dimensions=(40, 80),
            timeout=240,
        )

    def ends(self, child: pexpect.spawn) -> Seen:
        """Return what a command that has ended left."""
        child.close()
        return Seen(ESCAPES.sub("", child.before or "").replace("\r\n", "\n"), child.exitstatus or 0)


def succeeded(seen: Seen) -> str:
    """Return the text of a command that did what was asked."""
    assert seen.status == 0, seen.text
    return seen.text


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG with something drawn on it."""
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and len(data) > 5_000
