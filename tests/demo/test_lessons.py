"""What is read and what is asked: nothing that is asked can be copied from what was read."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.demo.lessons import Lessons, prepare_lessons, question_text
from milepost.demo.words import SUBJECTS
from milepost.demo.world import make_world


def _lessons(seed: int) -> Lessons:
    return prepare_lessons(make_world(seed, things_per_kind=8), seed)


def _read(lessons: Lessons) -> str:
    return "\n".join(lessons.documents(random.Random(0)))


def test_the_same_seed_gives_the_same_world_and_lessons() -> None:
    assert _lessons(3) == _lessons(3)
    assert _lessons(3) != _lessons(4)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_no_question_was_read_with_its_answer(seed: int) -> None:
    lessons = _lessons(seed)
    read = _read(lessons)
    assert not [q for q in lessons.questions if question_text(q.question) in read]
    answered = [f"{q.unfinished} {q.choices[q.answer]}." for q in lessons.unfinished]
    assert not [sentence for sentence in answered if sentence in lessons.sentences]


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_sums_that_are_asked_were_read_in_no_order(seed: int) -> None:
    lessons = _lessons(seed)
    read = _read(lessons)
    sums = [q.question.removeprefix("What is ").rstrip("?") for q in lessons.questions if "+" in q.question]
    assert sums
    for left, right in (text.split(" + ") for text in sums):
        assert f" {left} + {right} " not in read.replace("\n", " ").replace("?", " ")
        assert f" {right} + {left} " not in read.replace("\n", " ").replace("?", " ")


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_every_fact_that_is_asked_was_read_in_other_words(seed: int) -> None:
    world = make_world(seed, things_per_kind=8)
    sentences = prepare_lessons(world, seed).sentences
    for fact in world.facts:
        told = [wording for wording in fact.wordings if f"{wording} {fact.answer}." in sentences]
        assert len(told) == len(fact.wordings) - 1


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_choices_are_four_of_which_one_is_right(seed: int) -> None:
    world = make_world(seed, things_per_kind=8)
    answers = {fact.question: fact.answer for fact in (*world.facts, *world.sums)}
    for question in prepare_lessons(world, seed).unfinished:
        assert len(set(question.choices)) == 4
        assert question.choices[question.answer] == answers[question.question]


def test_every_subject_is_asked() -> None:
    lessons = _lessons(0)
    assert {question.subject for question in lessons.questions} == set(SUBJECTS)
    assert {question.subject for question in lessons.unfinished} == set(SUBJECTS)


def test_taking_always_the_same_place_is_right_as_often_as_chance() -> None:
    lessons = prepare_lessons(make_world(0), 0)
    for asked in (lessons.questions, lessons.unfinished):
        places = [question.answer for question in asked]
        assert max(map(places.count, range(4))) - min(map(places.count, range(4))) <= 2


def test_each_reading_has_all_documents_in_another_order() -> None:
    lessons = _lessons(0)
    rng = random.Random(0)
    first, second = lessons.documents(rng), lessons.documents(rng)
    assert first != second
    assert sorted(" ".join(first).split()) == sorted(" ".join(second).split())


def test_wrong_sums_lie_near_the_right_one() -> None:
    for fact in make_world(0).sums:
        left, right = map(int, fact.about.split(" + "))
        assert fact.answer == str(left + right)
        assert all(1 <= abs(int(wrong) - left - right) <= 4 for wrong in fact.false_answers)
