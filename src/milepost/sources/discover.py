"""From what the user typed to series of checkpoints: the room's front door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath

from milepost.errors import CheckpointError, SourceError
from milepost.sources.adapter_base import HUB_SCHEME, with_base
from milepost.sources.config_file import read_config_file
from milepost.sources.local import find_local
from milepost.sources.names import listed, shown
from milepost.sources.overrides import NOTHING, Given
from milepost.sources.raw_series import Run, ordered, select
from milepost.sources.steps import Steps
from milepost.types import Checkpoint, Series


def discover(source: str, steps: Steps | None = None, given: Given = NOTHING) -> Series:
    """The one training run a SOURCE stands for.

    Raises:
        SourceError: it does not exist, matches nothing, cannot be reached, or stands for several runs.
    """
    series = discover_all([source], steps, given)
    if len(series) > 1:
        names = listed(one.name for one in series)
        raise SourceError(f"{shown(source)} stands for {len(series)} runs: {names}", "give one of them")
    return series[0]


def discover_all(
    sources: Sequence[str],
    steps: Steps | None = None,
    given: Given = NOTHING,
    skip: Callable[[str, SourceError], None] | None = None,
) -> tuple[Series, ...]:
    """Return the training runs of several SOURCEs, in the order given, each under a name of its own.

    Checkpoints of the same folder or repository form one series, however they were given
    (`runs/a/step-1 runs/a/step-2`); one that is given twice counts once.

    Args:
        skip: called with a source that has nothing to offer, and the error; the others are returned then.

    Raises:
        SourceError: as `discover`; no source was given; the given config is no config.
    """
    if not sources:
        raise SourceError("no SOURCE", "give a folder or a Hub address such as hf://org/name")
    find_base = cache(_find_base)
    found: list[Run] = []
    for source in sources:
        try:
            runs = _find(source, given)
            if skip is not None:
                _as_series(runs, steps, given.base, find_base)
        except SourceError as error:
            if skip is None:
                raise
            skip(source, error)
        else:
            found += runs
    return _as_series(found, steps, given.base, find_base)


def _as_series(
    found: Sequence[Run], steps: Steps | None, base: str | None, find_base: Callable[[str], Checkpoint]
) -> tuple[Series, ...]:
    """Return the merged and named series, with the model that each adapter changes."""
    runs = [select(run, steps) for run in _merged(found)]
    series = [_series(run, name) for run, name in zip(runs, _unique_names(runs), strict=True)]
    return tuple(
        replace(own, checkpoints=tuple(with_base(one, base, find_base) for one in own.checkpoints))
        for own in series
    )


def _find(source: str, given: Given) -> tuple[Run, ...]:
    if given.config is not None:
        _check_config(given.config)
    if source.startswith(HUB_SCHEME):
        from milepost.sources.hub.listing import find_on_hub

        return (find_on_hub(source, given),)
    return find_local(source, given)


def _check_config(path: Path) -> None:
    try:
        read_config_file(path)
    except CheckpointError as error:
        raise SourceError(f"--config: {error.message}", "give a file such as config.json") from error


def _find_base(address: str) -> Checkpoint:
    found = [checkpoint for run in _find(address, NOTHING) for checkpoint in run.checkpoints]
    if len(found) != 1:
        raise SourceError(f"{shown(address)} has {len(found)} checkpoints, not one")
    return found[0]


def _merged(runs: Sequence[Run]) -> list[Run]:
    by_root: dict[str, Run] = {}
    for run in runs:
        first = by_root.get(run.root)
        if first is None:
            by_root[run.root] = run
            continue
        together = {one.source: one for one in (*first.checkpoints, *run.checkpoints)}
        source = first.source if run.source in first.source.split() else f"{first.source} {run.source}"
        by_root[run.root] = Run(run.root, run.name, source, ordered(list(together.values())))
    return list(by_root.values())


def _unique_names(runs: Sequence[Run]) -> list[str]:
    """The runs' names, with as much of their folders (or organisation) as it takes to tell them apart."""
    parts = [PurePath(run.root.replace("hf://", "hf/")).parts for run in runs]
    names = [run.name for run in runs]
    for depth in range(2, max((len(one) for one in parts), default=0) + 1):
        if len(set(names)) == len(names):
            break
        names = [
            "-".join(part for part in own[-depth:] if part != "/") if names.count(name) > 1 else name
            for own, name in zip(parts, names, strict=True)
        ]
    return names


def _series(run: Run, name: str) -> Series:
    checkpoints = tuple(replace(one, series=name) for one in _with_unique_names(run.checkpoints))
    return Series(name=name, source=run.source, checkpoints=checkpoints, root=run.root)


def _with_unique_names(checkpoints: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    """Where two share a name (one sub-folder in two revisions), name them by the end of their address."""
    names = [one.name for one in checkpoints]
    return tuple(
        one if names.count(one.name) == 1 else replace(one, name=_long_name(one)) for one in checkpoints
    )


def _long_name(checkpoint: Checkpoint) -> str:
    _, at, tail = checkpoint.source.removeprefix(HUB_SCHEME).partition("@")
    return tail if at else "/".join(PurePath(checkpoint.source).parts[-2:])
