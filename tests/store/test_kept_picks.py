"""Picks that were read before are not read again, unless their file is another one by now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milepost.errors import ResultsError
from milepost.store import kept_picks
from milepost.store.kept_picks import KeptPicks
from milepost.store.picks import PICK_COLUMNS, write_picks


def write(path: Path, pick: int) -> None:
    columns: dict[str, Any] = {name: np.full(3, pick) for name in PICK_COLUMNS}
    write_picks(path, {"ant": np.arange(3)}, {"ant": columns})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    found: list[Path] = []
    really = kept_picks.read_picks
    monkeypatch.setattr(
        kept_picks, "read_picks", lambda path, columns: found.append(path) or really(path, columns)
    )
    return found


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "picks.parquet"
    write(path, 1)
    kept = KeptPicks(["pick"])
    assert [kept.read(path)["ant"]["pick"].tolist() for _ in range(2)] == [[1, 1, 1]] * 2
    assert read == [path]
    write(path, 2)
    assert kept.read(path)["ant"]["pick"].tolist() == [2, 2, 2]
    path.unlink()
    with pytest.raises(ResultsError, match=r"picks\.parquet"):
        kept.read(path)


def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path, read: list[Path]) -> None:
    paths = [tmp_path / f"{name}.parquet" for name in "abc"]
    for place, path in enumerate(paths):
        write(path, place)
    size = sum(array.nbytes for array in KeptPicks(["pick"]).read(paths[0])["ant"].values())
    read.clear()
    kept = KeptPicks(["pick"], most_bytes=2 * size)
    for path in (*paths, *paths[1:], paths[0]):
        assert kept.read(path)["ant"]["pick"][0] == paths.index(path)
    assert read == [*paths, paths[0]]
