"""The Compare page reads the picks of two checkpoints; the file of each task would give it the same."""

from __future__ import annotations

import re
import shlex
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from milepost.store.doc_records import read_answers
from milepost.store.folder import open_folder
from milepost.store.index import ResultsIndex
from milepost.types.answers import ModelAnswers
from tests.cli.called import milepost
from tests.web.conftest import client_of


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


def test_the_page_says_how_zeros_come_to_be_counted(real_results: Path, tmp_path: Path) -> None:
    results = shutil.copytree(real_results, tmp_path / "my results")
    with client_of(results) as client:
        html = client.get("/compare", headers={"accept": "text/html"}).text
        assert html.count("zeros not counted") == 1
        (command,) = re.findall("`(milepost compare .+?)`", unescape(html))
        called = milepost(*shlex.split(command)[1:], "-o", tmp_path / "compared")
        assert called.status == 0, called.err
    with client_of(results) as client:
        assert "zeros not counted" not in client.get("/compare", headers={"accept": "text/html"}).text
