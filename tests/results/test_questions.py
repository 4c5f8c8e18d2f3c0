"""Docs that were shown are kept until their file is another one."""

from __future__ import annotations

from pathlib import Path

import pytest

import milepost
from milepost.errors import ResultsError
from milepost.results import questions
from milepost.results.questions import QuestionReader
from milepost.store.index import ResultsIndex
from milepost.store.pick_history import read_questions
from tests.run.own_tasks import write_tasks


@pytest.fixture
def index(tiny_run: Path, tmp_path: Path) -> ResultsIndex:
    milepost.evaluate(
        tiny_run,
        "where",
        output_path=tmp_path / "results",
        include_path=write_tasks(tmp_path / "tasks"),
        engine="padded",
    )
    return ResultsIndex.open(tmp_path / "results")


def test_docs_that_were_shown_are_not_read_again(
    index: ResultsIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = QuestionReader()
    (history,) = reader.histories(index).found
    wanted = [(history, doc) for doc in history.doc_id.tolist()[:3]]
    expected = read_questions(index.folder, wanted, answers=False)
    assert reader.docs(index.folder, wanted[1:]) == expected[1:]
    assert reader.docs(index.folder, wanted) == expected
    monkeypatch.setattr(questions, "read_questions", lambda *given, **options: pytest.fail("read again"))
    assert reader.docs(index.folder, wanted[::-1]) == expected[::-1]


def test_docs_that_are_damaged_since_are_not_shown(index: ResultsIndex) -> None:
    reader = QuestionReader()
    (history,) = reader.histories(index).found
    assert reader.docs(index.folder, [(history, 0)])
    index.folder.docs_path(history.docs_id).write_bytes(b"")
    with pytest.raises(ResultsError, match="docs"):
        reader.docs(index.folder, [(history, 0)])


def test_no_more_docs_are_kept_than_there_is_room_for(
    index: ResultsIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "MOST_DOC_CHARACTERS", 0)
    reader = QuestionReader()
    (history,) = reader.histories(index).found
    wanted = [(history, 0)]
    assert reader.docs(index.folder, wanted)
    assert not reader._docs
