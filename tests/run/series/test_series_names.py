"""A series is its source: runs whose folders are called alike are two, one that was moved is the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from milepost.run.series import series_names
from milepost.run.series.series_names import claim_names, name_by_source
from milepost.store import ResultsFolder
from milepost.store.atomic_files import write_json
from milepost.store.series import places_of_series
from milepost.types.checkpoints import Checkpoint, Series


def found(root: Path | str, *names: str, name: str | None = None) -> Series:
    """A training run as `discover_all` finds it."""
    series = name or str(root).rstrip("/").rpartition("/")[2]
    checkpoints = tuple(
        Checkpoint(
            series=series,
            name=one,
            step=None,
            source=f"{root}@{one}" if str(root).startswith("hf://") else f"{root}/{one}",
            format="safetensors",
            location=Path(root) / one,
        )
        for one in names
    )
    return Series(name=series, source=str(root), checkpoints=checkpoints, root=str(root))


def run(results: ResultsFolder, *series: Series) -> list[str]:
    """What a run does: name, claim, visit. Returns the names."""
    named = name_by_source(results.path, series)
    assert claim_names(results, series, named)
    for one in named:
        for checkpoint in one.checkpoints:
            assert checkpoint.series == one.name
            path = results.checkpoint_path(one.name, checkpoint.name)
            entries = {"series": one.name, "checkpoint": checkpoint.name, "step": None}
            write_json(path, {**entries, "source": checkpoint.source, "model_id": weights(checkpoint)})
    return [one.name for one in named]


def weights(checkpoint: Checkpoint) -> str:
    """The model of a checkpoint: what its folder's file says, else its address."""
    file = Path(checkpoint.source) / "weights"
    return file.read_text() if file.is_file() else checkpoint.source


@pytest.fixture(autouse=True)
def identified(monkeypatch: pytest.MonkeyPatch) -> None:
    def identify(checkpoint: Checkpoint, _cache: Path) -> SimpleNamespace:
        return SimpleNamespace(model_id=weights(checkpoint))

    monkeypatch.setattr(series_names, "identify", identify)


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.create(tmp_path / "results")


def make(folder: Path, **weights: str) -> Path:
    for name, content in weights.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "weights").write_text(content)
    return folder


def test_two_runs_in_folders_of_one_name_are_two_series(tmp_path: Path, results: ResultsFolder) -> None:
    a, b = make(tmp_path / "a" / "run", one="1"), make(tmp_path / "b" / "run", one="2", two="3")
    assert run(results, found(a, "one")) == ["run"]
    assert run(results, found(b, "one", "two")) == ["b/run"]
    assert run(results, found(a, "one")) == ["run"]
    assert run(results, found(b, "two")) == ["b/run"]


def test_a_run_has_its_name_whether_it_is_asked_alone_or_with_others(
    tmp_path: Path, results: ResultsFolder
) -> None:
    a, b = make(tmp_path / "a" / "run", one="1"), make(tmp_path / "b" / "run", one="2")
    assert run(results, found(b, "one")) == ["run"]
    together = [found(a, "one", name="a-run"), found(b, "one", name="b-run")]
    assert run(results, *together) == ["a-run", "run"]


def test_a_link_or_a_slash_at_the_end_is_the_same_source(tmp_path: Path, results: ResultsFolder) -> None:
    a = make(tmp_path / "a" / "run", one="1")
    (tmp_path / "link").symlink_to(a)
    assert run(results, found(a, "one")) == ["run"]
    assert run(results, found(tmp_path / "link", "one")) == ["run"]
    assert run(results, found(f"{a}/", "one", name="run")) == ["run"]


def test_repositories_of_one_name_are_two_series(results: ResultsFolder) -> None:
    assert run(results, found("hf://org/name", "main")) == ["name"]
    assert run(results, found("hf://other/name", "main")) == ["other/name"]
    assert run(results, found("hf://org/name", "step-1")) == ["name"]


def test_a_moved_run_goes_on_and_a_copy_does_not(tmp_path: Path, results: ResultsFolder) -> None:
    a = make(tmp_path / "a" / "run", one="1", two="2")
    assert run(results, found(a, "one", "two")) == ["run"]
    b = tmp_path / "b" / "run"
    shutil.copytree(a, b)
    assert run(results, found(b, "one", "two")) == ["b/run"]
    other = ResultsFolder.create(tmp_path / "other")
    assert run(other, found(a, "one", "two")) == ["run"]
    shutil.rmtree(a)
    make(b, three="3")
    assert run(other, found(b, "one", "two", "three")) == ["run"]
    assert places_of_series(other)["run"] == (str(a), str(b))


def test_another_run_at_another_place_is_not_taken_for_the_one_that_is_gone(
    tmp_path: Path, results: ResultsFolder
) -> None:
    a, b = make(tmp_path / "a" / "run", start="0", one="1"), make(tmp_path / "b" / "run", start="0", one="2")
    assert run(results, found(a, "start", "one")) == ["run"]
    shutil.rmtree(a)
    assert run(results, found(b, "start", "one")) == ["b/run"]


def test_of_two_processes_that_begin_at_once_one_gets_the_name(
    tmp_path: Path, results: ResultsFolder
) -> None:
    a, b = make(tmp_path / "a" / "run", one="1"), make(tmp_path / "b" / "run", one="2")
    asked = [[found(a, "one")], [found(b, "one")]]
    first, second = (name_by_source(results.path, one) for one in asked)
    assert [one.name for one in (*first, *second)] == ["run", "run"]
    assert claim_names(results, asked[0], first)
    assert not claim_names(results, asked[1], second)
    assert run(results, found(b, "one")) == ["b/run"]


def test_in_a_folder_of_the_first_versions_places_are_those_of_the_checkpoints(
    tmp_path: Path, results: ResultsFolder
) -> None:
    a, b = make(tmp_path / "a" / "run", one="1"), make(tmp_path / "b" / "run", one="2")
    run(results, found(a, "one"))
    shutil.rmtree(results.path / "store" / "series")
    assert run(results, found(b, "one")) == ["b/run"]
    assert run(results, found(a, "one")) == ["run"]
