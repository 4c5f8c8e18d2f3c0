"""Record which training run each series of a results folder is: a series is its source, not its name.

    store/series/<name>.json      the series' name and the places where its checkpoints have been

Of several processes that first write a series, one creates the record. Folders of the first versions have
none; there the checkpoints' own sources say it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from milepost.buckets import as_path
from milepost.store import file_state, listing
from milepost.store import safe_paths as inside
from milepost.store.atomic_files import create_json, is_intact
from milepost.store.folder import ResultsFolder
from milepost.store.json_codec import encode
from milepost.store.records import (
    CheckpointRecord,
    Record,
    read_if_intact,
    read_record,
    write_record,
)

HUB = "hf://"


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """The places where the checkpoints of a series have been, the newest last."""

    series: str
    places: tuple[str, ...]


def places_of_series(results: ResultsFolder) -> dict[str, tuple[str, ...]]:
    """Return the places of each series, the newest last: folders with links resolved, or `hf://org/name`.

    Damaged records are passed over, as a run over their checkpoints makes them anew.

    Raises:
        ResultsError: a link leads out of the folder.
    """
    found = {record.series: record.places for record in _intact(SeriesRecord, results.folder_of("series"))}
    for folder in listing.folders(results.folder_of("checkpoints")):
        places: dict[str, None] = {}
        records = _intact(CheckpointRecord, folder)
        for record in records:
            if record.source:
                places[place_of(record, record.source)] = None
        if records:
            found.setdefault(records[0].series, tuple(places))
    return found


def _intact(kind: type[Record], folder: Path) -> list[Record]:
    records = (read_if_intact(kind, path) for path in listing.files(folder, "*.json"))
    return [record for record in records if record is not None]


def claim(results: ResultsFolder, series: str, place: str) -> bool:
    """Record that the series is the one at `place`; a place is added to those that a record has.

    Returns:
        False if another process has just recorded the series with another place.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    path = results.series_path(series)
    known = places_of_series(results).get(series, ())
    record = SeriesRecord(series, tuple(dict.fromkeys([*known, place])))
    if file_state.exists(path) and not is_intact(path):
        inside.remove(path)
    if file_state.exists(path):
        if place not in known:
            write_record(path, record)
        return True
    return create_json(path, encode(record)) or place in read_record(SeriesRecord, path).places


def longer_name(name: str, place: str, taken: Iterable[str]) -> str:
    """Return the name with as many folders of its place (or the organisation) before it as make it new."""
    parts = [part for part in PurePosixPath(Path(place.removeprefix(HUB)).as_posix()).parts if part != "/"]
    known = set(taken)
    for depth in range(2, len(parts) + 1):
        longer = "/".join(parts[-depth:])
        if longer not in known:
            return longer
    number = 2
    while f"{name} ({number})" in known:
        number += 1
    return f"{name} ({number})"


def place_of(checkpoint: CheckpointRecord, source: str) -> str:
    """Return the place of a checkpoint's series, from where the checkpoint was (`source`)."""
    if source.startswith(HUB):
        return HUB + "/".join(source.removeprefix(HUB).split("@")[0].split("/")[:2])
    # A model folder that is a series of its own has the series' name; others lie in the series' folder.
    is_alone = checkpoint.series == checkpoint.name == Path(source).name
    place = as_path(source)
    return str(place if is_alone else place.parent)
