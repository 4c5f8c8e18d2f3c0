"""One line of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    """What was looked at: `python`, `device`, `mirror`, ..."""
    status: Status
    """`broken` where a run would fail or give wrong numbers; `warning` where it might."""
    found: str
    """One line, with figures."""
    advice: str | None = None
    """What to do, often a command; None where there is nothing to do."""
