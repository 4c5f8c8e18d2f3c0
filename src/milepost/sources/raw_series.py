"""A training run as it was found, before runs from several SOURCEs are merged and named."""

from __future__ import annotations

from dataclasses import dataclass

from milepost.errors import SourceError
from milepost.sources.names import listed, shown
from milepost.sources.steps import Steps
from milepost.types import Checkpoint, step_order


@dataclass(frozen=True, slots=True)
class Run:
    """Checkpoints that belong together, because they lie in one folder or one repository."""

    root: str
    """What makes it the same run as another: the absolute path of its folder, or `hf://org/name`."""
    name: str
    source: str
    """The SOURCE it was found by."""
    checkpoints: tuple[Checkpoint, ...]


def ordered(checkpoints: list[Checkpoint]) -> tuple[Checkpoint, ...]:
    """By step, then name."""
    return tuple(sorted(checkpoints, key=lambda one: step_order(one.step, one.name)))


def select(run: Run, steps: Steps | None) -> Run:
    """The run's checkpoints at the wanted steps.

    Raises:
        SourceError: there is none.
    """
    if steps is None:
        return run
    kept = tuple(one for one in run.checkpoints if one.step in steps)
    if not kept:
        there = [str(one.step) for one in run.checkpoints if one.step is not None]
        raise SourceError(
            f"{shown(run.source)} has no checkpoint at steps {steps}",
            f"its steps are {_abridged(there)}" if there else "the names of its checkpoints tell no step",
        )
    return Run(run.root, run.name, run.source, kept)


def _abridged(steps: list[str]) -> str:
    if len(steps) <= 12:
        return listed(steps)
    return f"{listed(steps[:6])}, ..., {listed(steps[-3:])} ({len(steps)} in all)"
