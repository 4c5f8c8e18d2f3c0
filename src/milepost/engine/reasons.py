"""How an exception in a model's forward pass is told."""

from __future__ import annotations

from milepost.engine.memory import is_out_of_memory
from milepost.safe_text import blanked


def failure_reason(error: Exception) -> str:
    """An exception of a model in one line."""
    if is_out_of_memory(error):
        return "out of memory, with nothing beside it in the pass"
    text = blanked(" ".join(str(error).split()))[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
