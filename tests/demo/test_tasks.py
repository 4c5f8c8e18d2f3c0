"""The demo's tasks as lm_eval itself sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from milepost.demo.lessons import Lessons, prepare_lessons
from milepost.demo.tasks import TASKS, write_tasks
from milepost.demo.words import SUBJECTS
from milepost.demo.world import make_world


@pytest.fixture(scope="module")
def lessons() -> Lessons:
    return prepare_lessons(make_world(0, things_per_kind=6), 0)


@pytest.fixture(scope="module")
def folder(lessons: Lessons, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo") / "tasks"
    write_tasks(lessons, made)
    return made


@pytest.fixture(scope="module")
def loaded(folder: Path) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return manager.load(list(TASKS))


def test_lm_eval_finds_groups_with_a_task_per_subject(loaded: dict[str, Any]) -> None:
    assert set(loaded["groups"]) == {"world", "world_cloze"}
    tasks = {f"{group}_{subject}" for group in ("world", "world_cloze") for subject in SUBJECTS}
    assert set(loaded["tasks"]) == tasks | {"world_letters", "world_text"}


def test_task_files_in_the_folder_one_is_in_name_no_absolute_path(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(lessons, Path("out/tasks"))
    texts = [path.read_text("utf-8") for path in Path("out/tasks").glob("*.yaml")]
    assert texts
    assert not any(str(tmp_path) in text for text in texts)
    assert any("test: out/tasks/world_text.jsonl" in text for text in texts)


def test_a_question_is_asked_with_its_answers_as_text(loaded: dict[str, Any], lessons: Lessons) -> None:
    task = loaded["tasks"]["world_geography"]
    doc = next(iter(task.test_docs()))
    question = next(q for q in lessons.questions if q.subject == "geography")
    assert task.doc_to_text(doc) == f"Question: {question.question}\nAnswer:"
    assert task.doc_to_choice(doc) == list(question.choices)
    assert task.doc_to_target(doc) == question.answer


def test_a_cloze_is_an_unfinished_sentence(loaded: dict[str, Any], lessons: Lessons) -> None:
    task = loaded["tasks"]["world_cloze_zoology"]
    doc = next(iter(task.test_docs()))
    assert task.doc_to_text(doc) == next(q.unfinished for q in lessons.unfinished if q.subject == "zoology")


def test_letters_stand_before_the_answers(loaded: dict[str, Any], lessons: Lessons) -> None:
    task = loaded["tasks"]["world_letters"]
    doc = next(iter(task.test_docs()))
    question = lessons.questions[0]
    assert task.doc_to_choice(doc) == ["A", "B", "C", "D"]
    assert task.doc_to_text(doc) == (
        f"Question: {question.question}\nA. {question.choices[0]}\nB. {question.choices[1]}\n"
        f"C. {question.choices[2]}\nD. {question.choices[3]}\nAnswer:"
    )


def test_perplexity_is_measured_on_texts_that_were_not_read(loaded: dict[str, Any], lessons: Lessons) -> None:
    task = loaded["tasks"]["world_text"]
    assert [task.doc_to_target(doc) for doc in task.test_docs()] == list(lessons.unread_texts)


def test_writing_the_same_tasks_again_touches_no_file(lessons: Lessons, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_tasks(lessons, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
