"""HELM's data folder is not left behind without data."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.tasks.helm.new_folders import removing_if_empty


@pytest.mark.parametrize("failure", [OSError("no network"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("before", "made", "left"),
    [
        ((), ("a.csv.lock",), ()),
        ((), ("a.csv.lock", "b.csv"), ("a.csv.lock", "b.csv")),
        (("note",), ("a.csv.lock",), ("a.csv.lock", "note")),
    ],
    ids=["no data", "some data", "was there"],
)
def test_a_folder_that_a_failed_download_made_is_removed_unless_it_has_data(
    failure: BaseException,
    before: tuple[str, ...],
    made: tuple[str, ...],
    left: tuple[str, ...],
    tmp_path: Path,
) -> None:
    data = tmp_path / "new" / "data"
    for name in before:
        data.mkdir(parents=True)
        (data / name).touch()

    def download() -> None:
        with removing_if_empty(data):
            data.mkdir(parents=True, exist_ok=True)
            for name in made:
                (data / name).touch()
            raise failure

    with pytest.raises(type(failure)):
        download()
    assert sorted(path.name for path in data.glob("*")) == sorted(left)
    assert (tmp_path / "new").exists() == bool(left)
