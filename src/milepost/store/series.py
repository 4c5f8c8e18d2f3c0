"""Which training run each series of a results folder is: a series is its source, not its name.

    store/series/<name>.json      the series' name and the places where its checkpoints have been

The record is made by whoever first writes the series, and by one process only. Folders of the first versions
have none; there the checkpoints' own sources say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from milepost.store import safe_paths as inside
from milepost.store.atomic_files import create_json, is_intact, read_json, safe_name, write_json
from milepost.store.folder import ResultsFolder

HUB = "hf://"


def series_folder(results: ResultsFolder) -> Path:
    """Where the records of series lie."""
    return results.path / "store" / "series"


def places_of_series(results: ResultsFolder) -> dict[str, tuple[str, ...]]:
    """Series to its places, the newest last: folders with links resolved, or `hf://org/name`.

    Damaged records are passed over, as a run over their checkpoints makes them anew.

    Raises:
        ResultsError: a link leads out of the folder.
    """
    found: dict[str, tuple[str, ...]] = {}
    for record in _intact(series_folder(results)):
        found[record["series"]] = tuple(record["places"])
    for folder in inside.folders(results.path / "store" / "checkpoints"):
        records = _intact(folder)
        name = records[0]["series"] if records else None
        if name is not None and name not in found:
            found[name] = tuple(
                dict.fromkeys(_place_of(record) for record in records if record.get("source"))
            )
    return found


def _intact(folder: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in inside.files(folder, "*.json") if is_intact(path)]


def claim(results: ResultsFolder, series: str, place: str) -> bool:
    """Make the series known as the one at `place`; False if another process has just made its record.

    A place is added to those that a record has.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    path = series_folder(results) / f"{safe_name(series)}.json"
    places = places_of_series(results).get(series, ())
    if path.exists() and not is_intact(path):
        inside.remove(path)
    if path.exists():
        if place not in places:
            write_json(path, {"series": series, "places": [*places, place]})
        return True
    if create_json(path, {"series": series, "places": list(dict.fromkeys([*places, place]))}):
        return True
    return place in read_json(path)["places"]


def longer_name(name: str, place: str, taken: Iterable[str]) -> str:
    """The name with as many folders of its place (or the organisation) before it as it takes to be new."""
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


def _place_of(record: Mapping[str, str]) -> str:
    """The place of the series of a checkpoint, from where the checkpoint was."""
    source = record["source"]
    if source.startswith(HUB):
        return HUB + "/".join(source.removeprefix(HUB).split("@")[0].split("/")[:2])
    # A model folder that is a series of its own has the series' name; others lie in the series' folder.
    alone = record["series"] == record["checkpoint"] == Path(source).name
    return str(Path(source) if alone else Path(source).parent)
