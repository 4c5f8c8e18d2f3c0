"""The Compare page reads the picks of two checkpoints; the file of each task would give it the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from milepost.store.doc_records import read_answers
from milepost.store.folder import open_folder
from milepost.store.index import ResultsIndex
from milepost.types.answers import ModelAnswers


@pytest.fixture
def without_picks(real_results: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(real_results, copy)
    shutil.rmtree(open_folder(copy).folder_of("picks"))
    return copy


def answers(path: Path) -> ModelAnswers:
    return read_answers(ResultsIndex.open(path))


def test_answers_from_the_picks_are_those_of_each_tasks_file(real_results: Path, without_picks: Path) -> None:
    fast, slow = answers(real_results), answers(without_picks)
    assert list(fast.tasks) == list(slow.tasks)
    for name, task in fast.tasks.items():
        other = slow.tasks[name]
        assert np.array_equal(task.doc_ids, other.doc_ids)
        assert task.hashes() == other.hashes()
        for measured in task.measurements:
            key = measured.metric, measured.filter
            ours, theirs = task.values.get(key), other.values.get(key)
            assert ours is not None
            assert theirs is not None
            assert list(ours) == list(theirs)


def test_the_files_of_multiple_choice_tasks_are_not_read(real_results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(real_results, copy)
    for path in (copy / "store" / "doc_metrics").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    choosable = [
        task for task in answers(copy).tasks.values() if task.measurements[0].metric.startswith("acc")
    ]
    assert choosable
    for task in choosable:
        assert len(task.values[task.measurements[0].metric, "none"]) == task.n_docs
