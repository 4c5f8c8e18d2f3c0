"""The rows of tables, charts and exports come from one place."""

from __future__ import annotations

from pathlib import Path

import pytest

import milepost
from milepost.errors import ResultsError
from milepost.results import Selection, select_rows
from milepost.results.selection import select_all_rows
from milepost.store import ResultsFolder, ResultsIndex
from milepost.store.records import CheckpointRecord, write_record
from tests.analysis.made import mmlu, rising, write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    found = mmlu([100, 200], subjects=4) + rising("piqa", [100, 200], low=0.5, high=0.6, n=500)
    folder = write_results(tmp_path / "results", found)
    failed = CheckpointRecord(series="run", name="step-150", step=150, failure="no weights")
    write_record(ResultsFolder(folder).checkpoint_path("run", "step-150"), failed)
    return folder


def test_tables_have_groups_and_lone_tasks_and_a_gap_where_a_checkpoint_failed(results: Path) -> None:
    rows = select_rows(ResultsIndex.open(results))
    assert {row.task for row in rows if row.kind == "task"} == {"piqa"}
    assert {row.step for row in rows if row.value is None} == {150}
    assert {row.step for row in rows if row.value is not None} == {100, 200}


def test_exports_have_every_task_and_no_gap(results: Path) -> None:
    rows = select_all_rows(ResultsIndex.open(results))
    assert len({row.task for row in rows}) == 10
    assert all(row.value is not None for row in rows)


def test_the_library_selects_what_the_commands_show(results: Path) -> None:
    opened = milepost.open_results(results)
    selection = Selection(tasks=["mmlu_s*"], series=["r*"])
    assert opened.select(tasks=["mmlu_s*"], series=["r*"]) == select_rows(opened.index(), selection)
    with pytest.raises(ResultsError, match="no task matches"):
        opened.select(tasks=["nothing"])


def test_an_index_reads_each_record_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    of_disk = milepost.store.safe_paths.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return of_disk(path)

    monkeypatch.setattr("milepost.store.safe_paths.read_bytes", noted)
    index = ResultsIndex.open(results)
    for _ in range(2):
        select_rows(index)
        select_all_rows(index)
        assert index.newest is not None
    assert len(read) == len(set(read))
