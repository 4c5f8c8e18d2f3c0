"""The estimate of how long a run takes, and the sentence that says it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LongRunPolicy:
    """What the caller wants of a run that takes long."""

    ask: bool = False
    """Whether to ask a person at the terminal before the run begins."""
    models_after: int = 0
    """Further models that the caller will score on the same tasks; the estimate counts their time too."""


def format_duration(seconds: float) -> str:
    """`8.1 s`, `42 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
