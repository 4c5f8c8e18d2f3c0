"""Several results folders read as one: series side by side, damage named, changes seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.errors import ResultsError
from milepost.results import select_rows
from milepost.store import ResultsFolder
from milepost.store.live_index import LiveIndex
from milepost.store.united_index import LiveUnitedIndex, open_folders
from tests.analysis.made import measurement, write_results


def made(folder: Path, *, series: str, value: float) -> Path:
    return write_results(folder, [measurement(series=series, step=step, value=value) for step in (1, 2)])


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders with a series of the same name, and a third with another."""
    places = [
        ("a/results", "run", 0.25),
        ("b/results", "run", 0.5),
        ("c/results", "other", 0.75),
    ]
    return [made(tmp_path / name, series=series, value=value) for name, series, value in places]


def test_series_of_the_same_name_get_their_folders_names(folders: list[Path]) -> None:
    index = open_folders(folders)
    assert set(index.series) == {"a/results:run", "b/results:run", "other"}
    values = {(row.series, row.step): row.value for row in select_rows(index)}
    assert values == {
        ("a/results:run", 1): 0.25,
        ("a/results:run", 2): 0.25,
        ("b/results:run", 1): 0.5,
        ("b/results:run", 2): 0.5,
        ("other", 1): 0.75,
        ("other", 2): 0.75,
    }
    home = index.home(index.checkpoints("b/results:run")[0])
    assert (home.part.folder.path, home.series) == (folders[1], "run")


def test_one_folder_named_twice_is_one_folder(folders: list[Path]) -> None:
    index = open_folders([folders[0], folders[0]])
    assert isinstance(index, LiveIndex)
    assert index.home(index.checkpoints("run")[0]) == (index, "run")
    assert index.parts == (index,)


def test_a_run_whose_tasks_and_checkpoints_are_spread_over_folders_is_one_series(tmp_path: Path) -> None:
    def part(folder: str, task: str, steps: tuple[int, ...], value: float) -> Path:
        rows = [measurement(task=task, series="run", step=step, value=value) for step in steps]
        return write_results(tmp_path / folder, rows, plan=f"plan-of-{task}", models="run")

    folders = [
        part("a", "piqa", (1, 2), 0.25),
        part("b", "rte", (1, 2, 3), 0.5),
        part("c", "piqa", (3,), 0.75),
    ]
    index = open_folders(folders)
    assert index.series == ("run",)
    assert [each.step for each in index.checkpoints("run")] == [1, 2, 3]
    assert {(row.task, row.step): row.value for row in select_rows(index)} == {
        ("piqa", 1): 0.25,
        ("piqa", 2): 0.25,
        ("piqa", 3): 0.75,
        ("rte", 1): 0.5,
        ("rte", 2): 0.5,
        ("rte", 3): 0.5,
    }
    homes = [index.home(each).part.folder.path for each in index.checkpoints("run")]
    assert homes == [folders[0], folders[0], folders[1]]
    assert not index.missing


def test_a_checkpoint_that_became_another_model_keeps_two_folders_apart(tmp_path: Path) -> None:
    for folder, models in (("a", "before"), ("b", "after")):
        rows = [measurement(series="run", step=step, value=0.5) for step in (1, 2)]
        write_results(tmp_path / folder, rows, models=models)
    assert set(open_folders([tmp_path / "a", tmp_path / "b"]).series) == {"a:run", "b:run"}


def test_a_change_of_one_folder_makes_a_new_index(folders: list[Path]) -> None:
    index = open_folders(folders)
    assert index.refreshed() is index
    write_results(folders[2], [measurement(series="other", step=3, value=0.9)])
    again = index.refreshed()
    assert isinstance(again, LiveUnitedIndex)
    assert again.parts[0] is index.parts[0]
    assert [each.step for each in again.checkpoints("other")] == [1, 2, 3]


def test_a_damaged_record_is_named_with_its_folder(folders: list[Path]) -> None:
    path = ResultsFolder(folders[1]).checkpoint_path("run", "step-1")
    path.write_text("no JSON")
    index = open_folders(folders)
    assert list(index.damaged) == [f"b/results/{path.relative_to(folders[1]).as_posix()}"]
    assert [each.step for each in index.checkpoints("b/results:run")] == [2]


def test_a_folder_that_is_none_is_refused(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="does not exist"):
        open_folders([*folders, tmp_path / "nothing"])
