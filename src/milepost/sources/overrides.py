"""Options that complete or replace what a SOURCE says about its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Options that replace parts of a checkpoint."""

    config: Path | None = None
    """A config in place of the one beside the weights."""
    base: str | None = None
    """The base model of adapters (a folder or Hub address) in place of the one that they name."""


NO_OVERRIDES = Overrides()
