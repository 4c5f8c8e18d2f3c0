"""A scored doc is found among the examples of a prompt, and nothing else is taken for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.submission.leaks import Layout, draws_from_what_it_scores, find_leaks

CHOICES = ("mat", "log", "hill")


def doc(
    number: int, question: str, answer: int, examples: Sequence[str], delimiter: str = "\n\n"
) -> dict[str, Any]:
    """A multiple-choice doc as the store keeps it, with these examples before its question."""
    context = delimiter.join([*examples, question])
    return {
        "doc_id": number,
        "doc": json.dumps({"question": question, "choices": CHOICES, "answer": answer}),
        "target": str(answer),
        "arguments": json.dumps([[context, f" {choice}"] for choice in CHOICES]),
    }


def example(question: str, answer: int) -> str:
    return f"{question} {CHOICES[answer]}"


QUESTIONS = ["The cat sat on the", "The dog lay by the", "The fox ran up the"]


def test_a_scored_doc_with_its_answer_is_a_leak() -> None:
    shown = example(QUESTIONS[1], 1)
    docs = [
        doc(0, QUESTIONS[0], 0, [shown]),
        doc(1, QUESTIONS[1], 1, ["A hen on a log"]),
        doc(2, "x", 0, [shown]),
    ]
    (leak,) = find_leaks(docs, Layout())
    assert (leak.shown_doc, leak.in_prompt_of) == (1, 0)


def test_examples_of_another_split_are_none() -> None:
    train = ["The hen stood on the mat", "The cow knelt by the log"]
    assert find_leaks([doc(n, text, n, train) for n, text in enumerate(QUESTIONS)], Layout()) == []


def test_the_question_with_another_answer_is_none() -> None:
    docs = [doc(0, QUESTIONS[0], 0, [example(QUESTIONS[1], 2)]), doc(1, QUESTIONS[1], 1, [])]
    assert find_leaks(docs, Layout()) == []


def test_a_question_that_holds_the_delimiter_is_seen_whole() -> None:
    passage = "A passage.\n\nIt goes on.\nWhat is it?"
    docs = [doc(0, QUESTIONS[0], 0, [example(passage, 2)]), doc(1, passage, 2, [])]
    assert [leak.shown_doc for leak in find_leaks(docs, Layout())] == [1]
    tail = "It goes on.\nWhat is it?"
    other = [doc(0, QUESTIONS[0], 0, [example(f"Another one.\n\n{tail}", 2)]), doc(1, passage, 2, [])]
    assert find_leaks(other, Layout()) == []


def test_a_description_is_no_part_of_the_first_example() -> None:
    described = Layout(description="Answer these: ")
    shown = described.description + example(QUESTIONS[1], 1)
    docs = [doc(0, QUESTIONS[0], 0, [shown]), doc(1, described.description + QUESTIONS[1], 1, [])]
    assert [leak.shown_doc for leak in find_leaks(docs, described)] == [1]


def test_answers_in_words_and_generated_answers_are_known_too() -> None:
    in_words = doc(1, QUESTIONS[1], 1, []) | {"target": "log"}
    free = {
        "doc_id": 2,
        "doc": json.dumps({"question": "2 + 2 ="}),
        "target": "4",
        "arguments": json.dumps([["2 + 2 =", {"until": ["\n"]}]]),
    }
    shown = [example(QUESTIONS[1], 1), "2 + 2 = 4"]
    docs = [doc(0, QUESTIONS[0], 0, shown), in_words, free]
    assert {leak.shown_doc for leak in find_leaks(docs, Layout())} == {1, 2}


def test_texts_that_are_only_scored_have_no_examples() -> None:
    rolling = {"doc_id": 0, "doc": "{}", "target": "a text", "arguments": json.dumps([["a text"]])}
    assert find_leaks([rolling], Layout()) == []


WORDS = st.text(alphabet="abc ", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    st.lists(st.tuples(WORDS, st.integers(0, 2)), min_size=2, max_size=6, unique_by=lambda one: one[0]),
    st.data(),
)
def test_exactly_the_docs_that_are_shown_are_found(asked: list[tuple[str, int]], data: st.DataObject) -> None:
    shown = data.draw(st.sets(st.integers(1, len(asked) - 1)))
    examples = [example(*asked[number]) for number in sorted(shown)]
    docs = [doc(n, text, answer, examples if n == 0 else []) for n, (text, answer) in enumerate(asked)]
    assert {leak.shown_doc for leak in find_leaks(docs, Layout())} == shown


@pytest.mark.parametrize(
    ("config", "same"),
    [
        ({"test_split": "test", "fewshot_split": "test"}, True),
        ({"test_split": "test", "fewshot_split": "dev"}, False),
        ({"test_split": "test", "training_split": "train"}, False),
        ({"validation_split": "validation"}, True),
        ({"validation_split": "validation", "training_split": "train"}, False),
        ({"test_split": "test"}, True),
        ({"test_split": "test", "fewshot_config": {"samples": [{}]}}, False),
        ({"test_split": "test", "training_split": "train", "fewshot_config": {"split": "test"}}, True),
    ],
)
def test_where_the_examples_come_from_is_read_as_lm_eval_reads_it(config: dict[str, Any], same: bool) -> None:
    assert draws_from_what_it_scores(config) is same
