"""What the user gives for checkpoints that lack it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Options that say more about a SOURCE than lies in it."""

    config: Path | None = None
    """A config in place of any that lies beside the checkpoints."""
    base: str | None = None
    """The model that adapters change: a folder or a Hub address, in place of what they name."""


NOTHING = Given()
