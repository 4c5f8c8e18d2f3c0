"""A series as it was found, before series of several SOURCEs are merged and named."""

from __future__ import annotations

from dataclasses import dataclass, replace

from milepost.errors import SourceError
from milepost.sources.steps import Steps
from milepost.text.language import Phrase
from milepost.text.messages import listed, shown
from milepost.types.checkpoints import Checkpoint, step_order


@dataclass(frozen=True, slots=True)
class RawSeries:
    """Checkpoints in one folder or repository."""

    root: str
    """Identity of the series: the absolute path of its folder, or `hf://org/name`."""
    name: str
    source: str
    """The SOURCE that it was found by."""
    checkpoints: tuple[Checkpoint, ...]


def ordered(checkpoints: list[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Sort checkpoints by step, then by name."""
    return tuple(sorted(checkpoints, key=lambda checkpoint: step_order(checkpoint.step, checkpoint.name)))


def select(raw: RawSeries, steps: Steps | None) -> RawSeries:
    """Return the series with only the wanted steps.

    Raises:
        SourceError: no checkpoint has such a step.
    """
    if steps is None:
        return raw
    kept = tuple(checkpoint for checkpoint in raw.checkpoints if checkpoint.step in steps)
    if not kept:
        known = [str(checkpoint.step) for checkpoint in raw.checkpoints if checkpoint.step is not None]
        raise SourceError(
            Phrase("{source} has no checkpoint at steps {steps}", source=shown(raw.source), steps=steps),
            Phrase("its steps are {known}", known=_abridged(known))
            if known
            else "the names of its checkpoints have no step",
        )
    return replace(raw, checkpoints=kept)


def _abridged(steps: list[str]) -> str:
    if len(steps) <= 12:
        return listed(steps)
    return f"{listed(steps[:6])}, ..., {listed(steps[-3:])} ({len(steps)} in all)"
