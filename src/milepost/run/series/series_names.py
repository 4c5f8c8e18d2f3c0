"""Name each series in a results folder: the same source always has the same name.

Two training runs in folders of the same name are two series; the second gets a longer name. A run is
recognised by its place. If it was moved, or is mounted elsewhere on another machine, and the earlier places
are gone, it is recognised by its checkpoints: those with the names of stored ones must have their weights.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from milepost.buckets import in_bucket
from milepost.errors import CheckpointError, SourceError
from milepost.files.cache import cache_folder
from milepost.sources import identify
from milepost.store import ResultsFolder
from milepost.store.folder import is_results_folder
from milepost.store.reading import read_checkpoints
from milepost.store.series import HUB, claim, longer_name, places_of_series
from milepost.types.checkpoints import Series

logger = logging.getLogger("milepost.run")

MOST_COMPARED = 3
"""Checkpoints whose weights are read to recognise a run, at most."""


def name_by_source(folder: Path, found: Sequence[Series]) -> list[Series]:
    """Return the series under the names that they have in the results folder; nothing is written.

    Raises:
        ResultsError: a link leads out of the results folder.
    """
    if not is_results_folder(folder):
        return list(found)
    results = ResultsFolder(folder)
    places = {name: tuple(map(_resolved, own)) for name, own in places_of_series(results).items()}
    named: list[Series] = []
    for series in found:
        taken = {earlier.name for earlier in named}
        name = _name_of(results, series, places, taken)
        if name != series.name:
            logger.info("%s is the series %s of %s", series.source, name, folder)
        checkpoints = tuple(replace(checkpoint, series=name) for checkpoint in series.checkpoints)
        named.append(replace(series, name=name, checkpoints=checkpoints))
    return named


def claim_names(results: ResultsFolder, found: Sequence[Series], named: Sequence[Series]) -> bool:
    """Record the source of each name; False if another process has taken a name for another source.

    Args:
        named: the result of `name_by_source` for `found`.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    now = name_by_source(results.path, found)
    if [series.name for series in now] != [series.name for series in named]:
        return False
    return all(claim(results, series.name, _resolved(series.root)) for series in named if series.root)


def _name_of(
    results: ResultsFolder, series: Series, places: Mapping[str, Sequence[str]], taken: set[str]
) -> str:
    if not series.root:
        return series.name
    place = _resolved(series.root)
    for name, own in places.items():
        if place in own and name not in taken:
            return name
    if not places.get(series.name) and series.name not in taken:
        return series.name
    if series.name not in taken and _has_moved(results, series, places[series.name]):
        return series.name
    return longer_name(series.name, place, {*places, *taken})


def _resolved(place: str) -> str:
    return place if _is_address(place) else os.path.realpath(place)


def _is_address(place: str) -> bool:
    return place.startswith(HUB) or in_bucket(place)


def _has_moved(results: ResultsFolder, series: Series, places: Sequence[str]) -> bool:
    """Return whether this is the stored series of its name, whose earlier places are gone."""
    if _is_address(series.root) or any(_is_address(place) or os.path.exists(place) for place in places):
        return False
    stored = {record.name: record.model_id for record in read_checkpoints(results, series.name)}
    both = [one for one in series.checkpoints if one.name in stored and one.problem is None]
    try:
        same = [
            identify(one, cache_folder()).model_id == stored[one.name]
            for one in (*both[: MOST_COMPARED - 1], *both[MOST_COMPARED - 1 :][-1:])
        ]
    except (CheckpointError, SourceError):
        return False
    return bool(same) and all(same)
