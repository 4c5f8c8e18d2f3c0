"""Invent a small world from one seed: facts about towns, animals, things and people, and sums.

Knows what is true. What a model reads of it and what it is asked is decided in `lessons`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from milepost.demo.words import KINDS, SUM_QUESTION, SUM_SUBJECT, SUM_WORDINGS, Kind, Relation

ONSETS = ("b", "br", "d", "dr", "f", "g", "h", "k", "kl", "l", "m", "n", "p", "r", "s", "st", "t", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "ai", "ou")
ENDINGS = ("l", "m", "n", "r", "s", "th", "nd", "rk")
LARGEST_ADDEND = 19
FALSE_ANSWERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something true, in words that end where its answer begins."""

    subject: str
    about: str
    """The name, or the sum, that it is about."""
    question: str
    wordings: tuple[str, ...]
    answer: str
    false_answers: tuple[str, ...]
    """Three answers of the same kind that are wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All facts of the world."""

    facts: tuple[Fact, ...]
    """About towns, animals, things and people: known only to those who read of them."""
    sums: tuple[Fact, ...]
    """`7 + 12` and so on: can be worked out by those who understood other sums."""


def make_world(seed: int, *, things_per_kind: int = 40) -> World:
    """Draw a world; the same seed gives the same world on every machine.

    Args:
        seed: of all that is drawn.
        things_per_kind: how many towns, animals, things and people there are; each has two facts.
    """
    rng = random.Random(seed)
    names = _invent_names(rng)
    facts = [fact for kind in KINDS for fact in _draw_facts(kind, things_per_kind, names, rng)]
    addends = range(LARGEST_ADDEND + 1)
    sums = [_sum(left, right, rng) for left in addends for right in addends]
    return World(facts=tuple(facts), sums=tuple(sums))


def _draw_facts(kind: Kind, count: int, names: Iterator[str], rng: random.Random) -> list[Fact]:
    spell = str.capitalize if kind.capitalised else str.lower
    things = [spell(next(names)) for _ in range(count)]
    facts = []
    for relation in kind.relations:
        answers = _answers(relation, names)
        for thing in things:
            answer, *others = rng.sample(answers, 1 + FALSE_ANSWERS)
            facts.append(
                Fact(
                    subject=kind.subject,
                    about=thing,
                    question=relation.question.format(about=thing),
                    wordings=tuple(wording.format(about=thing) for wording in relation.wordings),
                    answer=answer,
                    false_answers=tuple(others),
                )
            )
    return facts


def _answers(relation: Relation, names: Iterator[str]) -> list[str]:
    if isinstance(relation.answers, int):
        return [next(names).capitalize() for _ in range(relation.answers)]
    return list(relation.answers)


def _sum(left: int, right: int, rng: random.Random) -> Fact:
    """Wrong answers lie close by, so that knowing the size of the result is not enough."""
    total = left + right
    near = [number for number in range(max(0, total - 4), total + 5) if number != total]
    about = f"{left} + {right}"
    return Fact(
        subject=SUM_SUBJECT,
        about=about,
        question=SUM_QUESTION.format(about=about),
        wordings=tuple(wording.format(about=about) for wording in SUM_WORDINGS),
        answer=str(total),
        false_answers=tuple(str(number) for number in rng.sample(near, FALSE_ANSWERS)),
    )


def _invent_names(rng: random.Random) -> Iterator[str]:
    """Return different names of two syllables."""
    taken = set()
    while True:
        name = "".join(rng.choice(part) for part in (ONSETS, VOWELS, ONSETS, VOWELS, ENDINGS))
        if name not in taken:
            taken.add(name)
            yield name
