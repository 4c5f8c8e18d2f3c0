"""Turn SOURCE arguments into series of checkpoints: the entry point of this room."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath

from milepost.buckets import in_bucket
from milepost.errors import CheckpointError, SourceError
from milepost.sources.adapter_base import HUB_SCHEME, with_base
from milepost.sources.bucket.finding import find_in_bucket
from milepost.sources.config_file import read_config_file
from milepost.sources.hub.listing import find_on_hub
from milepost.sources.local import find_local
from milepost.sources.overrides import NO_OVERRIDES, Overrides
from milepost.sources.raw_series import RawSeries, ordered, select
from milepost.sources.steps import Steps
from milepost.text.language import Phrase
from milepost.text.messages import listed, shown
from milepost.types.checkpoints import Checkpoint, Series

logger = logging.getLogger("milepost.sources")


def discover(source: str, steps: Steps | None = None, overrides: Overrides = NO_OVERRIDES) -> Series:
    """Return the series of a SOURCE that stands for one training run.

    Raises:
        SourceError: the SOURCE does not exist, matches nothing, cannot be reached, or stands for several
            runs.
    """
    found = discover_all([source], steps, overrides)
    if len(found) > 1:
        names = listed(series.name for series in found)
        raise SourceError(
            Phrase(
                "{source} stands for {n_found} runs: {names}",
                source=shown(source),
                n_found=len(found),
                names=names,
            ),
            "give one of them",
        )
    return found[0]


def discover_all(
    sources: Sequence[str],
    steps: Steps | None = None,
    overrides: Overrides = NO_OVERRIDES,
    skip: Callable[[str, SourceError], None] | None = None,
) -> tuple[Series, ...]:
    """Return the series of several SOURCEs, in their order, under unique names.

    Checkpoints of the same folder or repository form one series (`runs/a/step-1 runs/a/step-2`), also if the
    folder is named through a link; a checkpoint that is named twice counts once.

    Args:
        skip: called with a source without checkpoints, and the error; the other sources are returned then.

    Raises:
        SourceError: as `discover`; there is no source; `overrides.config` cannot be read.
    """
    if not sources:
        raise SourceError("no SOURCE", "give a folder or a Hub address such as hf://org/name")
    find_base = cache(_find_base)
    found: list[RawSeries] = []
    for source in sources:
        try:
            of_source = _find(source, overrides)
            if skip is not None:
                _as_series(of_source, steps, overrides.base, find_base)
        except SourceError as error:
            if skip is None:
                raise
            skip(source, error)
        else:
            found += of_source
    return _as_series(found, steps, overrides.base, find_base)


def _as_series(
    found: Sequence[RawSeries], steps: Steps | None, base: str | None, find_base: Callable[[str], Checkpoint]
) -> tuple[Series, ...]:
    """Merge and name the series, and add the base model to each adapter."""
    selected = [select(raw, steps) for raw in _merged(found)]
    return tuple(
        Series(
            name=name,
            source=raw.source,
            root=raw.root,
            checkpoints=tuple(
                with_base(replace(checkpoint, series=name), base, find_base)
                for checkpoint in _with_unique_names(raw.checkpoints)
            ),
        )
        for raw, name in zip(selected, _unique_names(selected), strict=True)
    )


def _find(source: str, overrides: Overrides) -> tuple[RawSeries, ...]:
    if overrides.config is not None:
        _check_config(overrides.config)
    if source.startswith(HUB_SCHEME):
        return (find_on_hub(source, overrides),)
    if in_bucket(source):
        return find_in_bucket(source, overrides)
    return find_local(source, overrides)


def _check_config(path: Path) -> None:
    try:
        read_config_file(path)
    except CheckpointError as error:
        raise SourceError(
            Phrase("--config: {message}", message=error.message), "give a file such as config.json"
        ) from error


def _find_base(address: str) -> Checkpoint:
    found = [checkpoint for raw in _find(address, NO_OVERRIDES) for checkpoint in raw.checkpoints]
    if len(found) != 1:
        raise SourceError(
            Phrase("{address} has {n_found} checkpoints, not one", address=shown(address), n_found=len(found))
        )
    return found[0]


def _merged(found: Sequence[RawSeries]) -> list[RawSeries]:
    """Merge series of one folder or repository; a link and its folder are one."""
    merged: dict[str, RawSeries] = {}
    for raw in found:
        root = _real_root(raw)
        first = merged.get(root)
        if first is None:
            merged[root] = raw
            continue
        if raw.root != first.root:
            _note_link(first.root, raw.root)
        checkpoints = {
            checkpoint.source.removeprefix(series.root): checkpoint
            for series in (raw, first)
            for checkpoint in series.checkpoints
        }
        source = first.source if raw.source in first.source.split() else f"{first.source} {raw.source}"
        merged[root] = replace(first, source=source, checkpoints=ordered(list(checkpoints.values())))
    return list(merged.values())


def _real_root(raw: RawSeries) -> str:
    is_address = raw.root.startswith(HUB_SCHEME) or in_bucket(raw.root)
    return raw.root if is_address else os.path.realpath(raw.root)


@cache
def _note_link(first: str, second: str) -> None:
    """Say once that two names are one folder."""
    logger.warning("%s and %s are the same folder, so they are one series", shown(first), shown(second))


def _unique_names(found: Sequence[RawSeries]) -> list[str]:
    """Return unique names: each series' name, with as much of its folders (or organisation) as needed."""
    all_parts = [PurePath(raw.root.replace(HUB_SCHEME, "hf/")).parts for raw in found]
    names = [raw.name for raw in found]
    for depth in range(2, max(map(len, all_parts), default=0) + 1):
        if len(set(names)) == len(names):
            break
        names = [
            "-".join(part for part in parts[-depth:] if part != "/") if names.count(name) > 1 else name
            for parts, name in zip(all_parts, names, strict=True)
        ]
    return names


def _with_unique_names(checkpoints: tuple[Checkpoint, ...]) -> tuple[Checkpoint, ...]:
    """Rename checkpoints of the same name (one sub-folder in two revisions) by the end of their address."""
    names = [checkpoint.name for checkpoint in checkpoints]
    return tuple(
        checkpoint if names.count(checkpoint.name) == 1 else replace(checkpoint, name=_long_name(checkpoint))
        for checkpoint in checkpoints
    )


def _long_name(checkpoint: Checkpoint) -> str:
    _, at, tail = checkpoint.source.removeprefix(HUB_SCHEME).partition("@")
    return tail if at else "/".join(PurePath(checkpoint.source).parts[-2:])
