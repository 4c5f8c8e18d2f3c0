"""Texts that the model reads about the world, and questions in other words.

Every fact is told in all its wordings but one, and asked in the one that is left. Half of the facts are also
read as question and answer; questions are asked of the other half. Some sums are never told at all: they are
the arithmetic that is asked.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from milepost.demo.world import FALSE_ANSWERS, Fact, World

SENTENCES_PER_DOCUMENT = 4
ASKED_SHARE_OF_SUMS = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A fact as it is asked, with four answers to choose from."""

    subject: str
    question: str
    unfinished: str
    """The fact as a sentence that ends where the answer begins, in a wording not read of this fact."""
    choices: tuple[str, ...]
    answer: int
    """Position of the right choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """A world divided into what is read and what is asked."""

    sentences: tuple[str, ...]
    answered: tuple[str, ...]
    """Documents of a question and its answer."""
    unfinished: tuple[Question, ...]
    """Questions about everything, to be asked as unfinished sentences."""
    questions: tuple[Question, ...]
    """Facts that the model did not read as question and answer; they are asked as questions."""
    unread_texts: tuple[str, ...]
    """Documents of true sentences that are in none that is read."""

    def documents(self, rng: random.Random) -> list[str]:
        """Return all documents once, in random order."""
        documents = _join(rng.sample(self.sentences, len(self.sentences))) + list(self.answered)
        rng.shuffle(documents)
        return documents


def prepare_lessons(world: World, seed: int) -> Lessons:
    """Divide a world, the same way for the same seed."""
    rng = random.Random(seed)
    asked_sums = _choose_sums(world.sums, rng)
    told_sums = [fact for fact in world.sums if fact not in asked_sums]
    asked = [(fact, rng.choice(fact.wordings)) for fact in (*world.facts, *asked_sums)]

    told = [_tell(fact, wording) for fact in told_sums for wording in fact.wordings]
    for fact, left_out in asked[: len(world.facts)]:
        told += [_tell(fact, wording) for wording in fact.wordings if wording != left_out]

    answered = {*rng.sample(world.facts, len(world.facts) // 2), *told_sums}
    # Turn by turn, so that one who always takes the same place is right exactly as often as chance.
    places = {known: itertools.cycle(range(1 + FALSE_ANSWERS)) for known in (True, False)}
    unfinished = [_ask(fact, wording, next(places[fact in answered]), rng) for fact, wording in asked]
    unread = [_tell(fact, wording) for fact, wording in rng.sample(asked, len(asked))]
    return Lessons(
        sentences=tuple(told),
        answered=tuple(
            f"{question_text(fact.question)} {fact.answer}"
            for fact in (*world.facts, *told_sums)
            if fact in answered
        ),
        unfinished=tuple(unfinished),
        questions=tuple(
            question for question, (fact, _) in zip(unfinished, asked, strict=True) if fact not in answered
        ),
        unread_texts=tuple(_join(unread)),
    )


def question_text(question: str) -> str:
    """Return a question as it stands in the text, up to the place of the answer."""
    return f"Question: {question}\nAnswer:"


def _tell(fact: Fact, wording: str) -> str:
    return f"{wording} {fact.answer}."


def _ask(fact: Fact, wording: str, place: int, rng: random.Random) -> Question:
    choices = rng.sample(fact.false_answers, FALSE_ANSWERS)
    choices.insert(place, fact.answer)
    return Question(
        subject=fact.subject,
        question=fact.question,
        unfinished=wording,
        choices=tuple(choices),
        answer=place,
    )


def _choose_sums(sums: Sequence[Fact], rng: random.Random) -> list[Fact]:
    """Return the sums that are asked and never told; of `2 + 3` and `3 + 2` both or neither."""
    pairs = sorted({_unordered(fact) for fact in sums})
    chosen = set(rng.sample(pairs, round(ASKED_SHARE_OF_SUMS * len(pairs))))
    return [fact for fact in sums if _unordered(fact) in chosen]


def _unordered(fact: Fact) -> tuple[str, ...]:
    return tuple(sorted(fact.about.split(" + ")))


def _join(sentences: Sequence[str]) -> list[str]:
    """Sentences as documents of a few each."""
    size = SENTENCES_PER_DOCUMENT
    return [" ".join(sentences[start : start + size]) for start in range(0, len(sentences), size)]
