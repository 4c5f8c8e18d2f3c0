"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    """Subject of the check: `python`, `device`, `mirror`, ..."""
    status: Status
    """`broken` where a run would fail or give wrong numbers; `warning` where it might."""
    found: str
    """The result in one line, with numbers."""
    advice: str | None = None
    """Advice, often a command; None if nothing has to be done."""
