"""Which training run each series of a results folder is: a series is its source, not its name.

    store/series/<name>.json      the series' name and the places where its checkpoints have been

The record is made by whoever first writes the series, and by one process only. Folders of the first versions
have none; there the checkpoints' own sources say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from milepost.store import inside
from milepost.store.files import create_json, read_json, safe_name, write_json
from milepost.store.folder import ResultsFolder

HUB = "hf://"


def series_folder(results: ResultsFolder) -> Path:
    """Where the records of series lie."""
    return results.path / "store" / "series"


def places_of_series(results: ResultsFolder) -> dict[str, tuple[str, ...]]:
    """Series to its places, the newest last: folders with links resolved, or `hf://org/name`.

    Raises:
        ResultsError: a damaged record.
    """
    found: dict[str, tuple[str, ...]] = {}
    for path in inside.files(series_folder(results), "*.json"):
        record = read_json(path)
        found[record["series"]] = tuple(record["places"])
    for folder in inside.folders(results.path / "store" / "checkpoints"):
        records = [read_json(path) for path in inside.files(folder, "*.json")]
        name = records[0]["series"] if records else None
        if name is not None and name not in found:
            found[name] = tuple(dict.fromkeys(_place_of(record) for record in records))
    return found


def claim(results: ResultsFolder, series: str, place: str) -> bool:
    """Make the series known as the one at `place`; False if another process has just taken its name.

    Raises:
        ResultsError: a damaged record.
        StorageError: the disk is full or the folder cannot be written.
    """
    path = series_folder(results) / f"{safe_name(series)}.json"
    places = places_of_series(results).get(series, ())
    if path.exists():
        known = tuple(read_json(path)["places"])
        if place in known:
            return True
        if places != known:
            return False
        write_json(path, {"series": series, "places": [*known, place]})
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


def shown_names(places: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Series to the name to show: its own, and where another ends alike, with the folder above.

    Args:
        places: as `places_of_series` gives them.
    """
    shown: dict[str, str] = {}
    for name, own in places.items():
        ends_alike = any(other != name and other.rpartition("/")[2] == name for other in places)
        last = [*own][-1:] if ends_alike and "/" not in name else []
        shown[name] = longer_name(name, last[0], [*places, *shown.values()]) if last else name
    return shown


def _place_of(record: Mapping[str, str]) -> str:
    """The place of the series of a checkpoint, from where the checkpoint was."""
    source = record["source"]
    if source.startswith(HUB):
        return HUB + "/".join(source.removeprefix(HUB).split("@")[0].split("/")[:2])
    # A model folder that is a series of its own has the series' name; others lie in the series' folder.
    alone = record["series"] == record["checkpoint"] == Path(source).name
    return str(Path(source) if alone else Path(source).parent)
