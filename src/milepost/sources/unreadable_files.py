"""The error for a file of a checkpoint that the system cannot read."""

from __future__ import annotations

from pathlib import Path

from milepost.errors import CheckpointError
from milepost.text.language import Phrase
from milepost.text.messages import shown


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """Return the error for a file of a checkpoint that the system cannot read."""
    return CheckpointError(
        Phrase("{path} cannot be read: {value}", path=shown(path), value=error.strerror or error)
    )
